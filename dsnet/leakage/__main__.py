"""The data of one trial: ``python -m dsnet.leakage``."""

from dsnet.leakage.trial import prepare
from dsnet.step import run

if __name__ == "__main__":
    run(prepare)
