"""Fetches the challenge's clips from their public bucket."""
