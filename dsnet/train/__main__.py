"""Command line of training: ``python -m dsnet.train``."""

from dsnet.step import run
from dsnet.train.step import train

if __name__ == "__main__":
    run(train)
