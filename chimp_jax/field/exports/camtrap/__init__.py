"""Parts of the export for Camtrap DP: reads, checks and matches the user's package, and makes new observations."""
