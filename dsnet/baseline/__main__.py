"""HU baseline on annotated boxes: ``python -m dsnet.baseline``."""

from dsnet.baseline.step import grade_annotated
from dsnet.step import run

if __name__ == "__main__":
    run(grade_annotated)
