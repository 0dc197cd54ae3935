"""From the predictions of a trained detector to metrics with intervals; NumPy and pandas alone."""
