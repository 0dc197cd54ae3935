"""The built-in synthetic cohort: lumbar CT of invented people, with an answer key."""

from dsnet.phantom.cohort import make_phantom

__all__ = ["make_phantom"]
