"""``python -m dsnet.figures.learning``: how the loss fell and the validation map rose."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dsnet import schemas
from dsnet.evaluate.about import note_of, read_about
from dsnet.figures.style import Caption, letter, look_of, panels, save, styled
from dsnet.step import run
from dsnet.tables.names import title_of

TITLE = "Learning curves"
TEXT = (
    "Mean loss of each epoch on the training part (left), and map (AP at IoU 0.5, mean over the "
    "classes) on the validation part where the epoch was judged (right). {seeds} The weights that "
    "a table judges are those of the epoch that the run manifest names."
)


def draw(
    *, variants: str, seeds: str, models: Path, digest: Path, split: Path, folder: Path
) -> None:
    """Write ``learning.png``, ``.svg`` and ``.json`` (the caption).

    Parameters
    ----------
    variants : str
        Detectors, with commas between: ``resnet50/none,resnet50/se``.
    seeds : str
        With commas between: ``0,1,2``.
    models : Path
        Folder of ``{backbone}/{attention}/seed{seed}/history.csv``.
    digest : Path
        Digest of the slice store, which names the cohort.
    split : Path
        Under `schemas.SPLIT`; says whether it leaks.
    folder : Path
        Where the figure goes.
    """
    numbers = seeds.split(",")
    histories = {
        name: pd.concat(
            schemas.read(schemas.HISTORY, models / name / f"seed{seed}" / "history.csv")
            for seed in numbers
        )
        for name in variants.split(",")
    }
    text = TEXT.format(
        seeds=f"One training each, seed {numbers[0]}."
        if len(numbers) == 1
        else f"Lines: mean over the seeds {', '.join(numbers)}; bands: their range."
    )
    with styled():
        caption = Caption(TITLE, text, note_of(read_about(digest, split)))
        save(drawn(histories), folder, "learning", caption)


def drawn(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Return the figure: a row of panels for each backbone.

    Parameters
    ----------
    histories : mapping of str to DataFrame
        By ``backbone/attention``: rows under `schemas.HISTORY` of all its seeds.
    """
    backbones = list(dict.fromkeys(name.partition("/")[0] for name in histories))
    figure, rows = panels(len(backbones), 2, height_mm=10 + 58 * len(backbones))
    for backbone, (left, right) in zip(backbones, rows, strict=True):
        for name, history in histories.items():
            if name.partition("/")[0] == backbone:
                _line(left, name, history.set_index("epoch")["loss"])
                _line(right, name, 100 * history.set_index("epoch")["validation_map"].dropna())
        title = title_of(f"{backbone}/none")
        left.set(title=f"{title}, training", ylabel="loss", ylim=(0, None))
        right.set(title=f"{title}, validation", ylabel="map (%)", ylim=(0, 100))
        for panel in (left, right):
            panel.set_xlabel("epoch")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        right.legend(loc="lower right", handlelength=3)
    letter([panel for row in rows for panel in row])
    return figure


def _line(panel: Axes, name: str, values: pd.Series) -> None:
    """Draw the mean over the seeds and their range; `values` by epoch, one for each seed."""
    look = look_of(name)
    seeds = values.groupby(level=0)
    mean, low, high = seeds.mean(), seeds.min(), seeds.max()
    panel.fill_between(mean.index, low, high, color=look.colour, alpha=0.15, linewidth=0)
    panel.plot(
        mean.index,
        mean,
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markersize=3.5,
        markevery=max(1, len(mean) // 10),
        label=title_of(name),
    )


if __name__ == "__main__":
    run(draw)
