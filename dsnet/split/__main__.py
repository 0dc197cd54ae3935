"""Command line of the split: ``python -m dsnet.split``."""

from dsnet.split.step import split_patients
from dsnet.step import run

if __name__ == "__main__":
    run(split_patients)
