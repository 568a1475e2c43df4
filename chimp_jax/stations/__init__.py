"""A camera station: its ground, its correction, whether it was moved. Pure NumPy and SciPy."""
