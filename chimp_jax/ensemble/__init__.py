"""Combines the predictions of several recipes into one distance. Uses NumPy, SciPy and pandas, no JAX."""
