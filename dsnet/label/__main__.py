"""Command line of the labels: ``python -m dsnet.label``."""

from dsnet.label.step import label
from dsnet.step import run

if __name__ == "__main__":
    run(label)
