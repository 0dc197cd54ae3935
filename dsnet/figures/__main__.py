"""``python -m dsnet.figures``: the figures that are drawn from metrics."""

from dsnet.figures.step import draw
from dsnet.step import run

if __name__ == "__main__":
    run(draw)
