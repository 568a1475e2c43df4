"""The sound tracks of clips, as log-mel pictures."""
