"""Leakage, measured: what a split by image adds to the figures, and what labels by lot give."""
