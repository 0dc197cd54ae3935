"""What trained detectors find, and how fast."""
