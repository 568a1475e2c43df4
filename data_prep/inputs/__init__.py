"""What people and detectors write: tables of labels, detections, and the headers of clips."""
