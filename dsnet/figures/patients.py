"""Patients and slices of each class in each subset: ``python -m dsnet.figures.patients``."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dsnet import schemas
from dsnet.evaluate.provenance import data_note, read_provenance
from dsnet.figures import CLASS_LOOKS, COLUMN_MM, Caption, letter, panels, save, styled
from dsnet.schemas import CLASSES, SUBSETS, is_leaky
from dsnet.step import run

_BAR = 0.26

TITLE = "Patients and slices by class and subset"
TEXT = (
    "{patients} patients (A) and their {slices} slices (B) in the training, validation and test "
    "subset, by the class of the patient by which the split was stratified. {shared}"
)


def write_patients(*, split: Path, digest: Path, folder: Path) -> None:
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
        patients=table["patient_key"].nunique(),
        slices=table["image_key"].nunique(),
        shared="Split by image: patients are in several subsets, and counted in each."
        if is_leaky(table)
        else "No patient is in two subsets.",
    )
    with styled():
        caption = Caption(TITLE, text, data_note(read_provenance(digest, split)))
        save(patients_figure(table), folder, "patients", caption)


def patients_figure(split: pd.DataFrame) -> Figure:
    """Return the figure of a table under `schemas.SPLIT`."""
    groups = split.groupby(["subset", "stratum"])
    figure, [[upper], [lower]] = panels(2, 1, height_mm=115, width_mm=COLUMN_MM)
    for panel, counts, title in (
        (upper, groups["patient_key"].nunique(), "patients"),
        (lower, groups["image_key"].nunique(), "slices"),
    ):
        _bars(panel, dict(counts))
        panel.set(title=title, ylabel=f"number of {title}")
    letter([upper, lower])
    figure.legend(*upper.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _bars(panel: Axes, counts: Mapping[tuple[str, str], int]) -> None:
    for k, name in enumerate(CLASSES):
        look = CLASS_LOOKS[name]
        bars = panel.bar(
            [x + (k - 1) * _BAR for x in range(len(SUBSETS))],
            [counts.get((subset, name), 0) for subset in SUBSETS],
            0.9 * _BAR,
            label=name,
            color="white" if look.hatch else look.colour,
            edgecolor=look.colour,
            hatch=look.hatch,
        )
        panel.bar_label(bars, fontsize=7, padding=1)
    panel.set_xticks(range(len(SUBSETS)), SUBSETS)
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    panel.margins(y=0.1)
    panel.grid(visible=False, axis="x")


if __name__ == "__main__":
    run(write_patients)
