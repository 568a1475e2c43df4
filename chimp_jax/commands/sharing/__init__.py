"""Commands that get members from others, or pack members for others."""
