"""The animals of one clip: tracks of their boxes, positions and speeds. NumPy and SciPy only."""
