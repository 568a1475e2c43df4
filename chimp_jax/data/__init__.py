"""Records to batches for training, and to chunks of frames for scoring."""
