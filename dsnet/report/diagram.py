"""``python -m dsnet.report.diagram``: the CONSORT-style flow diagram."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from dsnet.audit.explain import count_of, title_of_cohort
from dsnet.files import whole
from dsnet.report.counts import (
    UNITS,
    Counts,
    Stage,
    Tables,
    read_tables,
    stages,
    subset_counts,
    words,
)
from dsnet.results import Results
from dsnet.schemas import CLASSES, SUBSETS
from dsnet.step import run

_LINE_PT, _PAD_PT = 12.5, 7.0
_MARGIN, _GAP = 4.0, 20.0
_SUBSET_LINES = 1 + len(CLASSES)
_NUMBER_ENDS = (94.0, 50.0, 6.0)
"""Of files, images and patients, from the right edge of a box."""

_INK, _GREY, _WHITE, _BLUE = "#1a1a1a", "#f0f0f0", "#ffffff", "#dceaf7"
_STYLE: Any = {"font.family": "DejaVu Sans", "svg.fonttype": "none", "svg.hashsalt": "dsnet"}
_METADATA: dict[str, Any] = {"svg": {"Date": None}, "png": {"Software": None}}
_DPI = 200
_POINTS_PER_INCH = 72


def _box_height(lines: int) -> float:
    return _LINE_PT * lines + _PAD_PT + 2


_MAIN_HEIGHT = _box_height(4)
_SUBSET_HEIGHT = _box_height(1 + _SUBSET_LINES)
_TITLE_LINE_PT = 15.0


@dataclass(frozen=True)
class _Layout:
    """Where boxes stand, in points.

    Attributes
    ----------
    width : float
        Of the page.
    left_width : float
        Of the boxes that say what is left.
    spine : float
        Of the line that leads from one of these to the next.
    right, right_width : float
        Of the boxes that say what was removed.
    stacked : bool
        Whether these stand below, and the subsets one below the other.
    title_characters, note_characters : int
        That fit in a line.
    """

    width: float
    left_width: float
    spine: float
    right: float
    right_width: float
    stacked: bool
    title_characters: int
    note_characters: int


_WIDE = _Layout(540, 164, 86, 214, 322, False, 78, 140)
_NARROW = _Layout(290, 282, 17, 34, 252, True, 40, 68)


def flow_diagram(*, results: Path, svg: Path, png: Path) -> None:
    """Draw what became of every file, image and patient.

    Parameters
    ----------
    results : Path
        The results folder; it is an error if the cohort's tables do not add up.
    svg, png : Path
        Written: the same picture, 190 mm wide; the same bytes for the same input.
    """
    canvas = draw(read_tables(Results(results)))
    for path, kind in ((svg, "svg"), (png, "png")):
        with whole(path) as temporary:
            temporary.write_bytes(canvas.rendered(kind))


class Canvas:
    """A page of boxes, arrows and aligned text; lengths in points, y down from the top.

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
        text: str,
        *,
        size: float = 8,
        bold: bool = False,
        align: str = "left",
    ) -> None:
        """Write one line; `y` is its baseline. The text is never read as a formula."""
        self._axes.text(
            x,
            y,
            text,
            fontsize=size,
            fontweight="bold" if bold else "normal",
            horizontalalignment=align,
            color=_INK,
            parse_math=False,
        )

    def rendered(self, kind: str) -> bytes:
        """Return the page as ``svg`` or ``png``; the same bytes for the same drawing."""
        stream = io.BytesIO()
        with mpl.rc_context(_STYLE):
            self._figure.savefig(stream, format=kind, dpi=_DPI, metadata=_METADATA[kind])
        return stream.getvalue()


def draw(tables: Tables, *, narrow: bool = False) -> Canvas:
    """Return the diagram: found, what each stage removed, included, and the subsets by class.

    Parameters
    ----------
    tables : Tables
        Without a split, there are no subsets.
    narrow : bool
        Everything in one column, for a telephone.
    """
    layout = _NARROW if narrow else _WIDE
    every = stages(tables.flow)
    acting = [stage for stage in every if stage.steps]
    leaky = " - LEAKY: patients in several subsets" if tables.leaky else ""
    title = textwrap.wrap(
        f"Cohort {title_of_cohort(tables.flow['cohort'])}{leaky}", layout.title_characters
    )
    notes = [
        line
        for note in _notes(tables.flow, [stage.title for stage in every if not stage.steps])
        for line in textwrap.wrap(note, layout.note_characters)
    ]
    top = 4 + (len(title) + 1) * _TITLE_LINE_PT
    height = (
        top
        + _MAIN_HEIGHT
        + sum(_gap(layout, stage) + _MAIN_HEIGHT for stage in acting)
        + (_subsets_height(layout) if tables.split_made else 0)
        + _LINE_PT * (len(notes) + 1)
    )
    canvas = Canvas(layout.width, height)
    for number, line in enumerate(title, start=1):
        canvas.text(_MARGIN, 1 + _TITLE_LINE_PT * number, line, size=10, bold=True)
    name = "Found in the cohort folder" if acting else "Found and included"
    y = _main_box(canvas, layout, top, name, tables.flow["found"], fill=_GREY)
    for stage in acting:
        y = _stage(canvas, layout, y, stage, last=stage is acting[-1])
    if tables.split_made:
        y = _subsets(canvas, layout, y, subset_counts(tables))
    for number, note in enumerate(notes, start=1):
        canvas.text(_MARGIN, y + _LINE_PT * (number + 0.5), note, size=7)
    return canvas


def _main_box(
    canvas: Canvas, layout: _Layout, y: float, title: str, counts: Counts, *, fill: str
) -> float:
    """Draw a box of what is left; return where it ends."""
    canvas.box(_MARGIN, y, layout.left_width, _MAIN_HEIGHT, fill)
    canvas.text(_MARGIN + _PAD_PT, y + _LINE_PT + 2, title, bold=True)
    for number, unit in enumerate(UNITS, start=2):
        baseline = y + _LINE_PT * number + 2
        canvas.text(_MARGIN + _PAD_PT + 34, baseline, f"{counts[unit]:,}", align="right")
        canvas.text(_MARGIN + _PAD_PT + 40, baseline, unit)
    return y + _MAIN_HEIGHT


def _stage(canvas: Canvas, layout: _Layout, y: float, stage: Stage, *, last: bool) -> float:
    """Draw what a stage removed, and the box of what is left; return where it ends."""
    gap, height = _gap(layout, stage), _removed_height(stage)
    middle = y + gap / 2
    canvas.arrow((layout.spine, y), (layout.spine, y + gap))
    canvas.arrow((layout.spine, middle), (layout.right, middle))
    canvas.box(layout.right, middle - height / 2, layout.right_width, height, _WHITE)
    _removed(canvas, layout, middle - height / 2 + _LINE_PT + 2, stage)
    title = "Included" if last else f"Left after {stage.title}"
    return _main_box(canvas, layout, y + gap, title, stage.remain, fill=_BLUE if last else _GREY)


def _removed(canvas: Canvas, layout: _Layout, y: float, stage: Stage) -> None:
    x = layout.right + _PAD_PT
    ends = [layout.right + layout.right_width - distance for distance in _NUMBER_ENDS]
    canvas.text(x, y, f"Excluded: {stage.title}", bold=True)
    for end, unit in zip(ends, UNITS, strict=True):
        canvas.text(end, y, unit, size=7, align="right")
    rows = [(f"{s['code']}  {words(s['slug'])}", s["removed"]) for s in stage.steps]
    for name, counts in [*rows, ("together", stage.removed)]:
        y += _LINE_PT
        canvas.text(x, y, name, bold=name == "together")
        for end, unit in zip(ends, UNITS, strict=True):
            canvas.text(end, y, f"{counts[unit]:,}", align="right", bold=name == "together")
    if stage.without:
        more = count_of(stage.without, "more criterion", "more criteria")
        canvas.text(x, y + _LINE_PT, f"{more}: none", size=7)


def _subsets(
    canvas: Canvas, layout: _Layout, y: float, subsets: dict[str, dict[str, tuple[int, int]]]
) -> float:
    """Draw one box for each subset, and arrows to them; return where they end."""
    bottom = y + _subsets_height(layout)
    if layout.stacked:
        step = _SUBSET_HEIGHT + _GAP
        tops = [y + _GAP + number * step for number in range(len(subsets))]
        canvas.line([(layout.spine, y), (layout.spine, tops[-1] + _SUBSET_HEIGHT / 2)])
        for top, (subset, rows) in zip(tops, subsets.items(), strict=True):
            middle = top + _SUBSET_HEIGHT / 2
            canvas.arrow((layout.spine, middle), (layout.right, middle))
            _subset(canvas, (layout.right, top), layout.right_width, subset, rows)
        return bottom
    width = (layout.width - 2 * _MARGIN - 2 * _GAP) / len(subsets)
    middle, top = y + _GAP, y + 2 * _GAP
    centres = [_MARGIN + width / 2 + number * (width + _GAP) for number in range(len(subsets))]
    canvas.line([(layout.spine, y), (layout.spine, middle)])
    canvas.line([(min(centres), middle), (max(centres), middle)])
    for centre, (subset, rows) in zip(centres, subsets.items(), strict=True):
        canvas.arrow((centre, middle), (centre, top))
        _subset(canvas, (centre - width / 2, top), width, subset, rows)
    return bottom


def _subset(
    canvas: Canvas,
    corner: tuple[float, float],
    width: float,
    subset: str,
    rows: dict[str, tuple[int, int]],
) -> None:
    left, top = corner
    canvas.box(left, top, width, _SUBSET_HEIGHT, _BLUE)
    baseline, ends = top + _LINE_PT + 2, (left + width - _PAD_PT - 40, left + width - _PAD_PT)
    canvas.text(left + _PAD_PT, baseline, subset.capitalize(), bold=True)
    for end, unit in zip(ends, ("patients", "images"), strict=True):
        canvas.text(end, baseline, unit, size=7, align="right")
    for name, counts in rows.items():
        baseline += _LINE_PT
        canvas.text(left + _PAD_PT, baseline, name)
        for end, count in zip(ends, counts, strict=True):
            canvas.text(end, baseline, f"{count:,}", align="right")


def _notes(flow: dict[str, Counts], idle: list[str]) -> list[str]:
    flagged, unknown = flow["included_flagged"], flow["included_not_evaluated"]
    notes = [
        "An image or patient is removed by the criterion that takes its last file; criteria count "
        "in the order of their codes.",
        f"Of what is included, flagged for review: {count_of(flagged['files'], 'file')} of "
        f"{count_of(flagged['patients'], 'patient')}; something not evaluated (history unknown): "
        f"{count_of(unknown['files'], 'file')} of {count_of(unknown['patients'], 'patient')}.",
    ]
    if idle:
        notes.append(f"Nothing was removed by: {', '.join(idle)}.")
    return notes


def _removed_height(stage: Stage) -> float:
    return _box_height(len(stage.steps) + 2 + (stage.without > 0))


def _gap(layout: _Layout, stage: Stage) -> float:
    """Return the arrow's length past a stage.

    The box of what it removed stands beside the arrow, and may reach halfway along the boxes that
    the arrow connects, unless it is stacked between them.
    """
    height = _removed_height(stage)
    if layout.stacked:
        return height + _GAP
    return max(height - _MAIN_HEIGHT + 2 * _PAD_PT, 2 * _GAP)


def _subsets_height(layout: _Layout) -> float:
    if layout.stacked:
        return len(SUBSETS) * (_SUBSET_HEIGHT + _GAP)
    return 2 * _GAP + _SUBSET_HEIGHT


if __name__ == "__main__":
    run(flow_diagram)
