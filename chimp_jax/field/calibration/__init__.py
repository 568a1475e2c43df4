"""Measured distances of a station, and what they tell about its other distances."""
