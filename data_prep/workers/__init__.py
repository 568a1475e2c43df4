"""Turns clips into records in worker processes, on one machine or many."""
