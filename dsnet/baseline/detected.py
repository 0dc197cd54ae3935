"""HU baseline on a detector's own boxes: ``python -m dsnet.baseline.detected``."""

from dsnet.baseline.step import grade_detected
from dsnet.step import run

if __name__ == "__main__":
    run(grade_detected)
