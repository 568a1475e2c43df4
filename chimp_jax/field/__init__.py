"""What ecologists get from the predictions: intervals, corrections, calibration, evaluation, a page, exports."""
