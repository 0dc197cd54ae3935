"""Leakage, measured: what a split by image adds to the figures, and what shuffled labels give."""
