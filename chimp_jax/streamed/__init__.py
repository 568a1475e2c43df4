"""The members' predictions for clips: tables in memory, and the saved batches that give the same tables."""
