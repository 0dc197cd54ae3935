"""``python -m dsnet.evaluate``: metrics as JSON from the predictions of one detector."""

from dsnet.evaluate.report import evaluate
from dsnet.step import run

if __name__ == "__main__":
    run(evaluate)
