"""Ablations: variants of a base config, trained on the same folds and seeds, and the table of their differences."""
