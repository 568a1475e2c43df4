"""Predictions of several recipes combined into one distance. NumPy, SciPy and pandas only."""
