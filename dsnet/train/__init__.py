"""Training of one detector: deterministic by seed, and resumed where it was cut off."""
