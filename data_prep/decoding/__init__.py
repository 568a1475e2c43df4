"""Decodes the frames of the seconds of a clip."""
