"""Figures: how each looks, and how it is written, the same bytes from the same numbers.

Colours are those of M. Okabe and K. Ito, "Color universal design" (2008),
https://jfly.uni-koeln.de/color/, which readers with any colour vision can distinguish; a line
style, marker or hatch beside each colour carries the same meaning in grey.
"""

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dsnet.files import whole, write_json
from dsnet.tables import is_baseline

INCH_MM = 25.4
PAGE_MM, COLUMN_MM = 170.0, 85.0
"""Print width of a figure over two columns of a journal, and over one. Text is 8 pt there."""

_FOOTER_MM = 1.25  # width of a letter of the line at the bottom

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY = "#666666"

_RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "axes.unicode_minus": False,
    "figure.dpi": 100,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    # The first comes with matplotlib; the others stand in where an SVG is viewed without it.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 8,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "savefig.dpi": 300,
    # Text stays text: a search finds it, a screen reader reads it.
    "svg.fonttype": "none",
    # Identifiers inside an SVG are random otherwise.
    "svg.hashsalt": "dsnet",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}

_METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
"""Neither dates nor versions: the same figure has the same bytes."""


@dataclass(frozen=True)
class Look:
    """How one class or one detector looks in every figure."""

    colour: str
    line: Literal["-", "--"] | tuple[float, tuple[float, ...]]
    marker: str
    hatch: str


CLASS_LOOKS = {
    "normal": Look(BLUE, "-", "o", ""),
    "osteopenia": Look(ORANGE, "--", "s", "////"),
    "osteoporosis": Look(VERMILLION, (0, (1, 1)), "^", "xxxx"),
}

ATTENTION_LOOKS = {
    "none": Look(BLACK, "-", "o", ""),
    "se": Look(SKY, (0, (5, 1.5)), "s", ""),
    "sk": Look(GREEN, (0, (4, 1.5, 1, 1.5)), "D", ""),
    "eca": Look(PURPLE, (0, (1, 2.5)), "v", ""),
    "ds": Look(VERMILLION, (0, (1, 1)), "^", ""),
}

BASELINE_LOOK = Look(BLUE, (0, (7, 1.5, 1, 1.5, 1, 1.5)), "X", "")


@dataclass(frozen=True)
class Caption:
    """What stands below a figure.

    Attributes
    ----------
    title : str
        What it shows, in a few words.
    caption : str
        How to read it, and how it was made.
    data : str
        What the numbers were made from, and whether that is synthetic or leaky.
    """

    title: str
    caption: str
    data: str


@contextmanager
def styled() -> Iterator[None]:
    """Give the figures made and saved within the block this module's look."""
    with mpl.rc_context(_RC):
        yield


def panels(
    rows: int, columns: int, *, height_mm: float, width_mm: float = PAGE_MM
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure of the given print size, and its axes by row and column."""
    figure = Figure(figsize=(width_mm / INCH_MM, height_mm / INCH_MM))
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes.tolist()


def letter(axes: list[Axes]) -> None:
    """Name panels A, B, ... before their titles."""
    for name, panel in zip("ABCDEFGH", axes, strict=False):
        panel.set_title(f"{name}  {panel.get_title()}", loc="left", fontweight="bold")
        panel.set_title("")


def name_lines(figure: Figure, looks: Mapping[str, Look], columns: int) -> None:
    """Write above the panels what each line is."""
    lines = [Line2D([], [], color=look.colour, linestyle=look.line) for look in looks.values()]
    style: dict[str, Any] = {"handlelength": 3, "columnspacing": 1.4, "ncols": columns}
    figure.legend(lines, looks.keys(), loc="outside upper center", **style)


def save(figure: Figure, folder: Path, name: str, caption: Caption) -> None:
    """Write ``{name}.png``, ``.svg`` and ``.json`` (the caption) into `folder`.

    The figure itself states what its numbers were made from: it will be copied without its caption.
    """
    letters = int(figure.get_figwidth() * INCH_MM / _FOOTER_MM)
    note = textwrap.fill(f"Data: {caption.data}", letters)
    figure.supxlabel(note, x=0.01, ha="left", fontsize=7, color=GREY)
    for suffix, metadata in _METADATA.items():
        with whole(folder / f"{name}.{suffix}") as path:
            figure.savefig(path, format=suffix, metadata=metadata)
    write_json(folder / f"{name}.json", asdict(caption))


def look_of(name: str) -> Look:
    """Return the look of ``backbone/attention`` or ``hu/...``."""
    return BASELINE_LOOK if is_baseline(name) else ATTENTION_LOOKS[name.split("/")[1]]
