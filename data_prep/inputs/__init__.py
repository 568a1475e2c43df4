"""Reads the inputs: tables of labels, detections, and the headers of clips."""
