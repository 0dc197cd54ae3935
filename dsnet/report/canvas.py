"""A page to draw boxes, arrows and aligned text on: lengths in points, y down from the top."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from dsnet.files import whole

LINE_PT = 12.5
PAD_PT = 7.0

_INK = "#1a1a1a"
_STYLE: Any = {"font.family": "DejaVu Sans", "svg.fonttype": "none", "svg.hashsalt": "dsnet"}
_DPI = 200
_POINTS_PER_INCH = 72


class Canvas:
    """One page of a fixed size.

    Parameters
    ----------
    width_pt, height_pt : float
    """

    def __init__(self, width_pt: float, height_pt: float) -> None:
        self._figure = Figure(figsize=(width_pt / _POINTS_PER_INCH, height_pt / _POINTS_PER_INCH))
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set(xlim=(0, width_pt), ylim=(height_pt, 0))
        self._axes.axis("off")

    def box(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """Draw a box from its upper left corner."""
        self._axes.add_patch(
            Rectangle((x, y), width, height, facecolor=fill, edgecolor=_INK, linewidth=0.8)
        )

    def arrow(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw an arrow; it ends at the edge of a box, not in it."""
        self._axes.add_patch(
            FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>",
                mutation_scale=9,
                shrinkA=0,
                shrinkB=0,
                linewidth=0.9,
                color=_INK,
            )
        )

    def line(self, points: Sequence[tuple[float, float]]) -> None:
        """Draw a line through `points`."""
        self._axes.plot(*zip(*points, strict=True), color=_INK, linewidth=0.9)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 8,
        bold: bool = False,
        align: str = "left",
    ) -> None:
        """Write one line; `y` is its baseline. Words are never read as formulas."""
        self._axes.text(
            x,
            y,
            words,
            fontsize=size,
            fontweight="bold" if bold else "normal",
            horizontalalignment=align,
            color=_INK,
            parse_math=False,
        )

    def save(self, svg: Path, png: Path) -> None:
        """Write the page twice; the same bytes for the same drawing."""
        with mpl.rc_context(_STYLE):
            with whole(svg) as temporary:
                self._figure.savefig(temporary, format="svg", metadata={"Date": None})
            with whole(png) as temporary:
                self._figure.savefig(temporary, format="png", dpi=_DPI, metadata={"Software": None})
