"""How the loss fell and the validation map rose: ``python -m dsnet.figures.learning``."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dsnet import schemas
from dsnet.evaluate.provenance import data_note, read_provenance
from dsnet.figures import (
    ATTENTION_LOOKS,
    Caption,
    letter,
    look_of,
    name_lines,
    panels,
    save,
    styled,
)
from dsnet.step import run
from dsnet.tables import title_of

_NAMES = {"none": "no attention"}

TITLE = "Learning curves"
TEXT = (
    "Mean loss of each epoch on the training subset ({train}; left), and map (AP at IoU 0.5, mean "
    "over the classes) on the validation subset ({validation}) where the epoch was evaluated "
    "(right). {seeds} The axes do not begin at 0. The weights "
    "that a table evaluates are those of the epoch that the run manifest names."
)

_LEAST_SPAN = 10.0
"""Points of map that an axis spans at least: less would make much of a difference of nothing."""


def write_learning(
    *, variants: list[str], seeds: list[int], models: Path, digest: Path, split: Path, folder: Path
) -> None:
    """Write ``learning.png``, ``.svg`` and ``.json`` (the caption).

    Parameters
    ----------
    variants : list of str
        Detectors, as ``backbone/attention``.
    seeds : list of int
    models : Path
        Folder of ``{backbone}/{attention}/seed{seed}/history.csv``.
    digest : Path
        Digest of the slice store, which names the cohort.
    split : Path
        Under `schemas.SPLIT`, which is marked where it leaks.
    folder : Path
        Where the figure goes.
    """
    histories = {
        name: pd.concat(
            schemas.read(schemas.HISTORY, models / name / f"seed{seed}" / "history.csv")
            for seed in seeds
        )
        for name in variants
    }
    sizes = {
        str(subset): f"{rows['patient_key'].nunique()} patients, {len(rows)} slices"
        for subset, rows in schemas.read(schemas.SPLIT, split).groupby("subset")
    }
    text = TEXT.format(
        **sizes,
        seeds=f"One training each, seed {seeds[0]}."
        if len(seeds) == 1
        else f"Lines: mean over the seeds {', '.join(map(str, seeds))}; bands: their range.",
    )
    with styled():
        caption = Caption(TITLE, text, data_note(read_provenance(digest, split)))
        save(learning_figure(histories), folder, "learning", caption)


def learning_figure(histories: Mapping[str, pd.DataFrame]) -> Figure:
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
        left.set(title=f"{title}, training", ylabel="loss")
        right.set(title=f"{title}, validation", ylabel="map (%)")
        for panel in (left, right):
            panel.set_xlabel("epoch")
            panel.set_xlim(left.get_xlim())  # validations may be few
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        low, high = right.get_ylim()
        missing = max(0.0, _LEAST_SPAN - (high - low)) / 2
        right.set_ylim(low - missing, high + missing)
    letter([panel for row in rows for panel in row])
    attentions = dict.fromkeys(name.partition("/")[2] for name in histories)
    looks = {_NAMES.get(name, name.upper()): ATTENTION_LOOKS[name] for name in attentions}
    name_lines(figure, looks, len(looks))
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
    )


if __name__ == "__main__":
    run(write_learning)
