"""``python -m dsnet.report``: everything on one page."""

from dsnet.report.step import report
from dsnet.step import run

if __name__ == "__main__":
    run(report)
