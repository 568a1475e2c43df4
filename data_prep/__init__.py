"""Turns clips and tables into records."""
