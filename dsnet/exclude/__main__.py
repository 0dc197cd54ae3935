"""Command line of the exclusions: ``python -m dsnet.exclude``."""

from dsnet.exclude.step import exclude
from dsnet.step import run

if __name__ == "__main__":
    run(exclude)
