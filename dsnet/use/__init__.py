"""Using a trained detector: on studies without annotations, from Python and the command line."""
