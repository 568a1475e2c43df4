"""What can be configured: every field, the published recipes, the demo."""
