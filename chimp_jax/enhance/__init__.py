"""Trains the small network that data_prep.build --enhance=network=FILE applies to clips of low resolution."""
