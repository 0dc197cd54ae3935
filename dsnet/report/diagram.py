"""``python -m dsnet.report.diagram``: the CONSORT-style flow diagram."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from dsnet.audit.explain import count_of
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
from dsnet.schemas import CLASSES
from dsnet.step import run

_LINE_PT, _PAD_PT = 12.5, 7.0
_WIDTH, _MARGIN, _GAP = 540.0, 4.0, 20.0
_LEFT_WIDTH = 164.0
_RIGHT, _RIGHT_WIDTH = 214.0, 322.0
_NUMBERS = (442.0, 486.0, 530.0)
_SPINE = _MARGIN + _LEFT_WIDTH / 2
_TITLE_HEIGHT = 34.0
_SUBSET_LINES = 1 + len(CLASSES)

_INK, _GREY, _WHITE, _BLUE = "#1a1a1a", "#f0f0f0", "#ffffff", "#dceaf7"
_STYLE: Any = {"font.family": "DejaVu Sans", "svg.fonttype": "none", "svg.hashsalt": "dsnet"}
_DPI = 200
_POINTS_PER_INCH = 72


def _box_height(lines: int) -> float:
    return _LINE_PT * lines + _PAD_PT + 2


_MAIN_HEIGHT = _box_height(4)


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
    for path, content in ((svg, canvas.svg()), (png, canvas.png())):
        with whole(path) as temporary:
            temporary.write_bytes(content)


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

    def svg(self) -> bytes:
        """Return the page as SVG; the same bytes for the same drawing."""
        return self._rendered("svg", {"Date": None})

    def png(self) -> bytes:
        """Return the page as PNG; the same bytes for the same drawing."""
        return self._rendered("png", {"Software": None})

    def _rendered(self, kind: str, metadata: dict[str, None]) -> bytes:
        stream = io.BytesIO()
        with mpl.rc_context(_STYLE):
            self._figure.savefig(stream, format=kind, dpi=_DPI, metadata=metadata)
        return stream.getvalue()


def draw(tables: Tables) -> Canvas:
    """Return the diagram: found, what each stage removed, included, and the subsets by class."""
    every = stages(tables.flow)
    acting = [stage for stage in every if stage.steps]
    notes = _notes(tables.flow, [stage.title for stage in every if not stage.steps])
    height = (
        _TITLE_HEIGHT
        + _MAIN_HEIGHT
        + sum(_gap(stage) + _MAIN_HEIGHT for stage in acting)
        + 2 * _GAP
        + _box_height(1 + _SUBSET_LINES)
        + _LINE_PT * (len(notes) + 1)
    )
    canvas = Canvas(_WIDTH, height)
    synthetic = " - SYNTHETIC, not patients" if tables.synthetic else ""
    leaky = " - LEAKY: patients in several subsets" if tables.leaky else ""
    canvas.text(_MARGIN, 16, f"Cohort {tables.cohort}{synthetic}{leaky}", size=10, bold=True)
    title = "Found in the cohort folder" if acting else "Found and included"
    y = _main_box(canvas, _TITLE_HEIGHT, title, tables.flow["found"], _GREY)
    for stage in acting:
        y = _stage(canvas, y, stage, last=stage is acting[-1])
    y = _subsets(canvas, y, subset_counts(tables))
    for number, note in enumerate(notes, start=1):
        canvas.text(_MARGIN, y + _LINE_PT * (number + 0.5), note, size=7)
    return canvas


def _main_box(canvas: Canvas, y: float, title: str, counts: Counts, fill: str) -> float:
    """Draw a box of the left column; return where it ends."""
    canvas.box(_MARGIN, y, _LEFT_WIDTH, _MAIN_HEIGHT, fill)
    canvas.text(_MARGIN + _PAD_PT, y + _LINE_PT + 2, title, bold=True)
    for number, unit in enumerate(UNITS, start=2):
        baseline = y + _LINE_PT * number + 2
        canvas.text(_MARGIN + _PAD_PT + 34, baseline, f"{counts[unit]:,}", align="right")
        canvas.text(_MARGIN + _PAD_PT + 40, baseline, unit)
    return y + _MAIN_HEIGHT


def _stage(canvas: Canvas, y: float, stage: Stage, *, last: bool) -> float:
    """Draw what a stage removed, and the box of what is left; return where it ends."""
    gap, height = _gap(stage), _removed_height(stage)
    middle = y + gap / 2
    canvas.arrow((_SPINE, y), (_SPINE, y + gap))
    canvas.arrow((_SPINE, middle), (_RIGHT, middle))
    canvas.box(_RIGHT, middle - height / 2, _RIGHT_WIDTH, height, _WHITE)
    _removed(canvas, middle - height / 2 + _LINE_PT + 2, stage)
    title = "Included" if last else f"Left after {stage.title}"
    return _main_box(canvas, y + gap, title, stage.remain, _BLUE if last else _GREY)


def _removed(canvas: Canvas, y: float, stage: Stage) -> None:
    x = _RIGHT + _PAD_PT
    canvas.text(x, y, f"Excluded: {stage.title}", bold=True)
    for end, unit in zip(_NUMBERS, UNITS, strict=True):
        canvas.text(end, y, unit, size=7, align="right")
    rows = [(f"{s['code']}  {words(s['slug'])}", s["removed"]) for s in stage.steps]
    for name, counts in [*rows, ("together", stage.removed)]:
        y += _LINE_PT
        canvas.text(x, y, name, bold=name == "together")
        for end, unit in zip(_NUMBERS, UNITS, strict=True):
            canvas.text(end, y, f"{counts[unit]:,}", align="right", bold=name == "together")
    if stage.without:
        others = "criterion" if stage.without == 1 else "criteria"
        canvas.text(x, y + _LINE_PT, f"{stage.without} more {others}: none", size=7)


def _subsets(canvas: Canvas, y: float, subsets: dict[str, dict[str, tuple[int, int]]]) -> float:
    """Draw one box for each subset, and arrows to them; return where they end."""
    width = (_WIDTH - 2 * _MARGIN - 2 * _GAP) / len(subsets)
    height = _box_height(1 + _SUBSET_LINES)
    middle, top = y + _GAP, y + 2 * _GAP
    centres = [_MARGIN + width / 2 + number * (width + _GAP) for number in range(len(subsets))]
    canvas.line([(_SPINE, y), (_SPINE, middle)])
    canvas.line([(min(centres), middle), (max(centres), middle)])
    for centre, (subset, rows) in zip(centres, subsets.items(), strict=True):
        left, right = centre - width / 2, centre + width / 2
        canvas.arrow((centre, middle), (centre, top))
        canvas.box(left, top, width, height, _BLUE)
        baseline, ends = top + _LINE_PT + 2, (right - _PAD_PT - 40, right - _PAD_PT)
        canvas.text(left + _PAD_PT, baseline, subset.capitalize(), bold=True)
        for end, unit in zip(ends, ("patients", "images"), strict=True):
            canvas.text(end, baseline, unit, size=7, align="right")
        for name, counts in rows.items():
            baseline += _LINE_PT
            canvas.text(left + _PAD_PT, baseline, name)
            for end, count in zip(ends, counts, strict=True):
                canvas.text(end, baseline, f"{count:,}", align="right")
    return top + height


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


def _gap(stage: Stage) -> float:
    """Return the arrow's length past a stage, whose box may reach halfway along its neighbours."""
    return max(_removed_height(stage) - _MAIN_HEIGHT + 2 * _PAD_PT, 2 * _GAP)


if __name__ == "__main__":
    run(flow_diagram)
