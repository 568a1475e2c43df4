"""Clips to records in worker processes, on this machine or on many."""
