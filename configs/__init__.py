"""All config fields, the published recipes and the demo's config."""
