"""The detections of trained detectors, and their speed."""
