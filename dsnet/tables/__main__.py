"""``python -m dsnet.tables``: a table of detectors and its summary."""

from dsnet.step import run
from dsnet.tables.step import tabulate

if __name__ == "__main__":
    run(tabulate)
