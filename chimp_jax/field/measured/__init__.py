"""Measured distances beside estimates: which row is which animal, and which animals were never detected."""
