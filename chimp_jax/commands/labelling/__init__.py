"""The command that serves the page to measure distances."""
