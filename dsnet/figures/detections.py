"""``python -m dsnet.figures.detections``: Figure 4, the truth and what each detector found."""

from collections.abc import Mapping, Sequence
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
from dsnet.evaluate.about import note_of, read_about, read_grid
from dsnet.figures.choice import RULE, Chosen, choose
from dsnet.figures.style import BLACK, CLASS_LOOKS, Caption, panels, save, styled
from dsnet.schemas import BOX, CLASSES
from dsnet.slices.store import SliceStore
from dsnet.step import run
from dsnet.tables.names import title_of

BONE = Window()
"""The bone window of docs/interpretations.md#21."""

SCALE_MM = 50.0

TITLE = "Annotation and detections on one test slice of each class (the paper's Figure 4)"


@dataclass(frozen=True)
class Marked:
    """A box to be drawn: edges in pixels, its class, and its probability unless it is the truth."""

    edges: tuple[float, ...]
    label: str
    probability: float | None = None


@dataclass(frozen=True)
class Strip:
    """One row of the figure: a slice in HU, its name, and the boxes of each column."""

    hu: NDArray[np.int16]
    name: str
    columns: tuple[tuple[Marked, ...], ...]


def draw(
    *,
    variants: str,
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
    variants : str
        Columns after the truth, with commas between: ``resnet50/none,resnet50/se``.
    seed : int
        Whose predictions are shown.
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
    names = variants.split(",")
    slices = SliceStore(store, boxes)
    parts = schemas.read(schemas.SPLIT, split)
    chosen = choose(slices, set(parts.loc[parts["subset"] == "test", "image_key"]))
    found = {
        name: schemas.read(schemas.PREDICTIONS, predictions / name / f"seed{seed}" / "test.parquet")
        for name in names
    }
    strips = [strip(slices, each, found, score) for each in chosen]
    titles = ["annotation", *(title_of(name) for name in names)]
    caption = Caption(TITLE, _text(chosen, seed, score), note_of(read_about(digest, split)))
    with styled():
        save(drawn(strips, titles, read_grid(digest)["pixel_mm"]), folder, "figure4", caption)


def strip(
    slices: SliceStore, chosen: Chosen, found: Mapping[str, pd.DataFrame], score: float
) -> Strip:
    """Return a chosen slice with its annotation and the detections of each table in `found`."""
    row = chosen.row
    truth = tuple(
        Marked(tuple(float(edge) for edge in box), CLASSES[label - 1])
        for box, label in zip(slices.boxes(row), slices.labels(row), strict=True)
    )
    columns = [truth]
    for table in found.values():
        mine = table[(table["image_key"] == slices.image_keys[row]) & (table["score"] >= score)]
        edges = mine[list(BOX)].to_numpy(np.float64).tolist()
        marks = zip(edges, mine["label"], mine["score"], strict=True)
        columns.append(tuple(Marked(tuple(box), label, p) for box, label, p in marks))
    return Strip(slices.image(row), f"{chosen.label}, {chosen.level}", tuple(columns))


def drawn(strips: Sequence[Strip], titles: Sequence[str], pixel_mm: float) -> Figure:
    """Return the figure: a row for each strip, a column for each title."""
    figure, axes = panels(len(strips), len(titles), height_mm=8 + 36 * len(strips))
    for row, shown in zip(axes, strips, strict=True):
        for panel, marks in zip(row, shown.columns, strict=True):
            _show(panel, shown.hu)
            for place, mark in enumerate(marks):
                _mark(panel, mark, place)
            if not marks:
                panel.set_xlabel("nothing found", fontsize=6.5, labelpad=2)
        row[0].set_ylabel(shown.name)
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title)
    _scale(axes[0][0], pixel_mm)
    return figure


def _show(panel: Axes, hu: NDArray[np.int16]) -> None:
    low, high = BONE.centre_hu - BONE.width_hu / 2, BONE.centre_hu + BONE.width_hu / 2
    height, width = hu.shape
    # Edges as in `schemas.BOX`: pixel i covers [i, i + 1).
    extent = (0, width, height, 0)
    panel.imshow(hu, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="nearest")
    panel.set(xticks=[], yticks=[])
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)


def _mark(panel: Axes, mark: Marked, place: int) -> None:
    """Draw a box; its text above the first of a panel, below the others, clear of each other."""
    look = CLASS_LOOKS[mark.label]
    x_min, y_min, x_max, y_max = mark.edges
    # A light casing below it: the line stands out from soft tissue in grey, too.
    for colour, line, width in (("white", "-", 2.4), (look.colour, look.line, 1.4)):
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
    panel.annotate(
        mark.label + probability,
        (min(x_min, panel.get_xlim()[1] / 2), y_max if place else y_min),
        xytext=(0, 1 - 9 * place if place else 3),
        textcoords="offset points",
        fontsize=5.5,
        color="white",
        backgroundcolor=BLACK,
        bbox={"boxstyle": "square,pad=0.15", "facecolor": BLACK, "edgecolor": look.colour},
    )


def _scale(panel: Axes, pixel_mm: float) -> None:
    length_px = SCALE_MM / pixel_mm
    left, bottom = 0.04 * panel.get_xlim()[1], 0.96 * panel.get_ylim()[0]
    panel.plot([left, left + length_px], [bottom, bottom], color="white", linewidth=2)
    panel.annotate(
        f"{SCALE_MM:g} mm",
        (left, bottom),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=5.5,
        color="white",
    )


def _text(chosen: Sequence[Chosen], seed: int, score: float) -> str:
    levels = ", ".join(f"{each.label} {each.level}" for each in chosen)
    return (
        f"Rows: one test slice of each class ({levels}). First column: the annotation; then each "
        f"detector trained with seed {seed}, with every box whose class has a probability of at "
        f"least {score:g}, and that probability. The slices were chosen by a rule that knows no "
        f"prediction: {RULE}. Bone window, centre {BONE.centre_hu:g} HU, width {BONE.width_hu:g} "
        "HU; pixels of the grid that detectors see. Classes differ in colour and line: normal "
        "solid, osteopenia dashed, osteoporosis dotted."
    )


if __name__ == "__main__":
    run(draw)
