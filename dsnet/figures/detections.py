"""Figure 4, the annotation and each detector's boxes: ``python -m dsnet.figures.detections``.

The slices are chosen by a rule that uses no prediction.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from dsnet import schemas
from dsnet.config.detector import Window
from dsnet.evaluate.provenance import data_note, read_grid, read_provenance
from dsnet.figures import BLACK, CLASS_LOOKS, Caption, panels, save, styled
from dsnet.schemas import BOX, CLASSES
from dsnet.slices import SliceStore
from dsnet.step import run
from dsnet.tables import title_of

BONE = Window()
"""The bone window of docs/interpretations.md#21."""

SCALE_MM = 50.0

_TEXT_BOX = {"boxstyle": "square,pad=0.15", "facecolor": BLACK, "linewidth": 0.6}
_TEXT_MIDDLE = (0.36, 0.64)  # of the panel: the longest text stays inside

LEVEL_ORDER = ("L3", "L2", "L4", "L1")
"""Levels from which a slice is taken: the first of these that the class has."""

TITLE = "Annotation and detections on one test slice of each class (the paper's Figure 4)"

RULE = (
    "of each class, among the test slices of L3 (if it has none, of L2, then L4, then L1), the one "
    "whose mean HU in the middle half of the annotated box is the median (the lower of two)"
)
"""What `choose` does, in words."""

_Key = tuple[float, tuple[float, ...], str]


@dataclass(frozen=True)
class Chosen:
    """One slice of the store, and the box for which it was chosen.

    Attributes
    ----------
    row : int
        Of the store.
    label : str
        Class of the box.
    level : str
        Level of the box.
    """

    row: int
    label: str
    level: str


@dataclass(frozen=True)
class Marked:
    """A box to show: edges in pixels, its class, and its probability unless it is annotated."""

    edges: tuple[float, ...]
    label: str
    probability: float | None = None


@dataclass(frozen=True)
class Strip:
    """One row of the figure: a slice in HU, its name, and the boxes of each column."""

    hu: NDArray[np.int16]
    name: str
    columns: tuple[tuple[Marked, ...], ...]


def write_figure4(
    *,
    variants: list[str],
    seed: int,
    score: float,
    predictions: Path,
    digest: Path,
    store: Path,
    boxes: Path,
    split: Path,
    folder: Path,
) -> None:
    """Write Figure 4 as ``figure4.png``, ``.svg`` and ``.json`` (its caption).

    Parameters
    ----------
    variants : list of str
        Columns after the annotation, as ``backbone/attention``.
    seed : int
        Of the trainings whose predictions the figure shows.
    score : float
        Detections below it are left out.
    predictions : Path
        Folder of ``{backbone}/{attention}/seed{seed}/test.parquet``.
    digest, store, boxes : Path
        The slice store.
    split : Path
        Under `schemas.SPLIT`.
    folder : Path
        Where the figure goes.
    """
    slices = SliceStore(store, boxes)
    images = schemas.read(schemas.SPLIT, split)
    test = images[images["subset"] == "test"]
    chosen = choose(slices, set(test["image_key"]))
    tables = {
        name: schemas.read(schemas.PREDICTIONS, predictions / name / f"seed{seed}" / "test.parquet")
        for name in variants
    }
    strips = [strip(slices, each, tables, score) for each in chosen]
    titles = ["annotation", *(title_of(name) for name in variants)]
    note = data_note(read_provenance(digest, split))
    with styled():
        figure = detections_figure(strips, titles, read_grid(digest)["pixel_mm"])
        save(figure, folder, "figure4", Caption(TITLE, _text(chosen, test, seed, score), note))


def choose(store: SliceStore, image_keys: Collection[str]) -> list[Chosen]:
    """Return the slice of each class that `RULE` names; a class without slices has none.

    Ties are broken by the box and then by the pixels: neither the order of the store nor the
    pseudonyms decide.

    Parameters
    ----------
    store : SliceStore
    image_keys : collection of str
        Images to choose from.
    """
    candidates: dict[tuple[str, str], list[tuple[_Key, int]]] = {}
    for row, image_key in enumerate(store.image_keys):
        if image_key not in image_keys:
            continue
        boxes = zip(store.boxes(row), store.labels(row), store.levels(row), strict=True)
        for box, label, level in boxes:
            hu = store.image(row)
            edges = tuple(float(edge) for edge in box)
            key = core_hu(hu, box), edges, hashlib.sha256(hu.tobytes()).hexdigest()
            candidates.setdefault((CLASSES[label - 1], level), []).append((key, row))
    chosen = []
    for label in CLASSES:
        levels = [level for level in LEVEL_ORDER if (label, level) in candidates]
        if levels:
            ordered = sorted(candidates[label, levels[0]])
            chosen.append(Chosen(ordered[(len(ordered) - 1) // 2][1], label, levels[0]))
    return chosen


def core_hu(hu: NDArray[np.int16], box: NDArray[np.float32]) -> float:
    """Return the mean HU of the pixels whose centre lies in the middle half of a box.

    Parameters
    ----------
    hu : int16 (height, width)
    box : float32 (4,)
        Edges in pixels, as `dsnet.schemas.BOX`.
    """
    x_min, y_min, x_max, y_max = (float(edge) for edge in box)
    rows = _middle(y_min, y_max, hu.shape[0])
    columns = _middle(x_min, x_max, hu.shape[1])
    return float(hu[np.ix_(rows, columns)].mean())


def strip(
    slices: SliceStore, chosen: Chosen, predictions: Mapping[str, pd.DataFrame], score: float
) -> Strip:
    """Return a chosen slice with its annotation and the detections of each table."""
    row = chosen.row
    annotation = tuple(
        Marked(tuple(float(edge) for edge in box), CLASSES[label - 1])
        for box, label in zip(slices.boxes(row), slices.labels(row), strict=True)
    )
    columns = [annotation]
    for table in predictions.values():
        rows = table[(table["image_key"] == slices.image_keys[row]) & (table["score"] >= score)]
        edges = rows[list(BOX)].to_numpy(np.float64).tolist()
        marks = zip(edges, rows["label"], rows["score"], strict=True)
        columns.append(tuple(Marked(tuple(box), label, p) for box, label, p in marks))
    return Strip(slices.image(row), f"{chosen.label}, {chosen.level}", tuple(columns))


def detections_figure(strips: Sequence[Strip], titles: Sequence[str], pixel_mm: float) -> Figure:
    """Return the figure: a row for each strip, a column for each title."""
    figure, axes = panels(len(strips), len(titles), height_mm=10 + 33 * len(strips))
    for row, each in zip(axes, strips, strict=True):
        for panel, marks in zip(row, each.columns, strict=True):
            _show(panel, each.hu)
            for index, mark in enumerate(marks):
                _mark(panel, mark, index)
            if not marks:
                panel.set_xlabel("no detection", fontsize=7, labelpad=2)
        row[0].set_ylabel(each.name)
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title)
    _scale(axes[0][0], pixel_mm)
    return figure


def _middle(low: float, high: float, size_px: int) -> NDArray[np.int64]:
    """Return the pixels of one axis in the middle half of [low, high]; at least the middle one."""
    quarter = (high - low) / 4
    first, last = round(low + quarter), round(high - quarter)
    return np.arange(max(first, 0), min(max(last, first + 1), size_px))


def _show(panel: Axes, hu: NDArray[np.int16]) -> None:
    low, high = BONE.centre_hu - BONE.width_hu / 2, BONE.centre_hu + BONE.width_hu / 2
    height, width = hu.shape
    # Edges as in `schemas.BOX`: pixel i covers [i, i + 1).
    extent = (0, width, height, 0)
    panel.imshow(hu, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="nearest")
    panel.set(xticks=[], yticks=[])
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)


def _mark(panel: Axes, mark: Marked, index: int) -> None:
    """Draw a box; its text above the first of a panel, below the others, clear of each other."""
    look = CLASS_LOOKS[mark.label]
    x_min, y_min, x_max, y_max = mark.edges
    # A light casing below it: the line stands out from soft tissue in grey, too.
    for colour, line, width in (("white", "-", 1.2), (look.colour, look.line, 0.7)):
        panel.add_patch(
            Rectangle(
                (x_min, y_min),
                x_max - x_min,
                y_max - y_min,
                fill=False,
                edgecolor=colour,
                linestyle=line,
                linewidth=width,
            )
        )
    probability = "" if mark.probability is None else f" {mark.probability:.2f}"
    leftmost, rightmost = (share * panel.get_xlim()[1] for share in _TEXT_MIDDLE)
    middle = min(max((x_min + x_max) / 2, leftmost), rightmost)
    text = panel.annotate(
        mark.label + probability,
        (middle, y_max if index else y_min),
        xytext=(0, 1 - 9 * index if index else 3),
        textcoords="offset points",
        ha="center",
        fontsize=7,
        color="white",
        bbox={**_TEXT_BOX, "edgecolor": look.colour},
    )
    text.set_in_layout(False)


def _scale(panel: Axes, pixel_mm: float) -> None:
    length_px = SCALE_MM / pixel_mm
    left, bottom = 0.04 * panel.get_xlim()[1], 0.96 * panel.get_ylim()[0]
    panel.plot([left, left + length_px], [bottom, bottom], color="white", linewidth=2)
    panel.annotate(
        f"{SCALE_MM:g} mm",
        (left, bottom),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=7,
        color="white",
        bbox={**_TEXT_BOX, "edgecolor": "none"},
    )


def _text(chosen: Sequence[Chosen], test: pd.DataFrame, seed: int, score: float) -> str:
    levels = ", ".join(f"{each.label} {each.level}" for each in chosen)
    return (
        f"Rows: one slice of each class ({levels}) of the {len(test)} slices of "
        f"{test['patient_key'].nunique()} test patients. First column: the annotation; then each "
        f"detector trained with seed {seed}, with every box whose class has a probability of at "
        f"least {score:g}, and that probability. The slices were chosen by a rule that uses no "
        f"prediction: {RULE}. Bone window, centre {BONE.centre_hu:g} HU, width {BONE.width_hu:g} "
        "HU; pixels of the grid that detectors see. Classes differ in colour and line: normal "
        "solid, osteopenia dashed, osteoporosis dotted."
    )


if __name__ == "__main__":
    run(write_figure4)
