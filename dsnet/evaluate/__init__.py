"""From a trained detector to numbers: predictions, speed, and metrics with their intervals."""
