"""``python -m dsnet.figures.patients``: patients and slices of each class in each part."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dsnet import schemas
from dsnet.evaluate.about import note_of, read_about
from dsnet.figures.style import CLASS_LOOKS, Caption, letter, panels, save, styled
from dsnet.schemas import CLASSES, SUBSETS
from dsnet.split.leak import is_leaky
from dsnet.step import run

_BAR = 0.26

TITLE = "Patients and slices by class and part of the split"
TEXT = (
    "Patients (A) and their slices (B) in the training, validation and test part, by the class of "
    "the patient by which the split was stratified. {parts}"
)


def draw(*, split: Path, digest: Path, folder: Path) -> None:
    """Write ``patients.png``, ``.svg`` and ``.json`` (the caption).

    Parameters
    ----------
    split : Path
        Under `schemas.SPLIT`.
    digest : Path
        Digest of the slice store, which names the cohort.
    folder : Path
        Where the figure goes.
    """
    table = schemas.read(schemas.SPLIT, split)
    text = TEXT.format(
        parts="Split by image: patients are in several parts, and counted in each."
        if is_leaky(table)
        else "No patient is in two parts."
    )
    with styled():
        save(
            drawn(table),
            folder,
            "patients",
            Caption(TITLE, text, note_of(read_about(digest, split))),
        )


def drawn(split: pd.DataFrame) -> Figure:
    """Return the figure of a table under `schemas.SPLIT`."""
    groups = split.groupby(["subset", "stratum"])
    figure, [[left, right]] = panels(1, 2, height_mm=70)
    for panel, counts, title in (
        (left, groups["patient_key"].nunique(), "patients"),
        (right, groups["image_key"].nunique(), "slices"),
    ):
        _bars(panel, dict(counts))
        panel.set(title=title, ylabel=f"number of {title}")
    letter([left, right])
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _bars(panel: Axes, counts: Mapping[tuple[str, str], int]) -> None:
    for place, name in enumerate(CLASSES):
        look = CLASS_LOOKS[name]
        bars = panel.bar(
            [part + (place - 1) * _BAR for part in range(len(SUBSETS))],
            [counts.get((part, name), 0) for part in SUBSETS],
            0.9 * _BAR,
            label=name,
            color="white" if look.hatch else look.colour,
            edgecolor=look.colour,
            hatch=look.hatch,
        )
        panel.bar_label(bars, fontsize=6.5, padding=1)
    panel.set_xticks(range(len(SUBSETS)), SUBSETS)
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    panel.margins(y=0.1)
    panel.grid(visible=False, axis="x")


if __name__ == "__main__":
    run(draw)
