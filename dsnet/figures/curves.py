"""Curves of all methods in one figure: precision-recall, ROC, calibration and FROC."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dsnet.figures.style import GREY, letter, look_of, panels
from dsnet.schemas import CLASSES
from dsnet.tables.entry import Entry, Json
from dsnet.tables.names import title_of

_HEIGHT_MM = 70.0
_MARGIN = 0.02
_LEGEND: dict[str, Any] = {
    "fontsize": 6,
    "title_fontsize": 6,
    "alignment": "left",
    "handlelength": 2.8,
    "frameon": True,
    "framealpha": 0.85,
    "edgecolor": "none",
}

_Points = Sequence[Any]  # float, or None where there is no point


def precision_recall(entries: Sequence[Entry]) -> Figure:
    """Return the precision-recall curves at IoU 0.5, a panel for each class."""
    figure, [row] = panels(1, len(CLASSES), height_mm=_HEIGHT_MM)
    for panel, name in zip(row, CLASSES, strict=True):
        for entry in entries:
            curve = entry.report["curves"]["pr"][name]
            if curve:
                said = _said(entry.value(f"ap_{name}"))
                _line(panel, entry, curve["recall"], curve["precision"], said)
        panel.set(title=name, xlabel="recall", ylabel="precision")
        _square(panel)
        _legend(panel, "AP", "lower left")
    return _finished(figure, row)


def roc(entries: Sequence[Entry]) -> Figure:
    """Return the one-vs-rest ROC curves: a column for each class, a row for levels and patients.

    Baselines may stand among the detectors.
    """
    figure, rows = panels(2, len(CLASSES), height_mm=2 * _HEIGHT_MM)
    for row, unit in zip(rows, ("level", "patient"), strict=True):
        for panel, name in zip(row, CLASSES, strict=True):
            _diagonal(panel)
            for entry in entries:
                curve = entry.report["curves"]["roc"][unit][name]
                if curve:
                    said = _said(entry.value(f"{unit}_auc_{name}"))
                    _line(panel, entry, curve["fpr"], curve["tpr"], said)
            panel.set(title=f"{name}, by {unit}", xlabel="1 - specificity", ylabel="sensitivity")
            _square(panel)
            _legend(panel, "AUC", "lower right")
        for panel in row[1:]:
            panel.set_ylabel("")
    letter([panel for row in rows for panel in row])
    return figure


def calibration(entries: Sequence[Entry]) -> Figure:
    """Return the reliability of the boxes found, before and after temperature scaling."""
    figure, [row] = panels(1, 2, height_mm=_HEIGHT_MM + 32)
    for panel, when in zip(row, ("before", "after"), strict=True):
        _diagonal(panel)
        for entry in entries:
            curve = entry.report["curves"]["calibration"][when]
            if curve:
                said = _said(entry.report["calibration"][f"ece_{when}"]["value"])
                _line(panel, entry, curve["confidence"], curve["accuracy"], said, marked=True)
                _dots(panel, entry, curve["confidence"], curve["accuracy"], curve["count"])
        panel.set(title=f"{when} temperature scaling", xlabel="confidence", ylabel="accuracy")
        _square(panel)
        _legend(panel, "ECE", "lower right")
    return _finished(figure, row)


def froc(entries: Sequence[Entry]) -> Figure:
    """Return the share of vertebrae found against false boxes, by image and by patient."""
    figure, [row] = panels(1, 2, height_mm=_HEIGHT_MM)
    for panel, unit in zip(row, ("image", "patient"), strict=True):
        drawn = [entry.report["curves"]["froc"][unit] for entry in entries]
        false = f"false_per_{unit}"
        for entry, curve in zip(entries, drawn, strict=True):
            _line(panel, entry, curve[false], curve["sensitivity"], stair=True)
        panel.yaxis.set_major_locator(MaxNLocator(5))
        # Linear up to one false box in ten, to show the start at none, too.
        panel.set_xscale("symlog", linthresh=0.1)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.set(title=f"by {unit}", xlabel=f"false boxes per {unit}", xlim=(0, None))
        panel.set(ylabel="sensitivity", ylim=(_floor(drawn, false), 1 + _MARGIN))
        _legend(panel, "", "lower right")
    return _finished(figure, row)


def _line(
    panel: Axes,
    entry: Entry,
    x: _Points,
    y: _Points,
    said: str = "",
    *,
    marked: bool = False,
    stair: bool = False,
) -> None:
    """Draw one method; points without a value are left out, and the line goes on after them."""
    look = look_of(entry.name)
    points = [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None]
    panel.plot(
        [a for a, _ in points],
        [b for _, b in points],
        color=look.colour,
        linestyle=look.line,
        drawstyle="steps-post" if stair else "default",
        marker=look.marker if marked else "",
        markersize=3,
        label=f"{title_of(entry.name)} {said}".rstrip(),
    )


def _dots(panel: Axes, entry: Entry, x: _Points, y: _Points, count: Sequence[int]) -> None:
    """Draw the bins of one detector, each as large as the share of the boxes that it holds."""
    look = look_of(entry.name)
    bins = [point for point in zip(x, y, count, strict=True) if point[2]]
    panel.scatter(
        [a for a, _, _ in bins],
        [b for _, b, _ in bins],
        s=[4 + 150 * units / sum(count) for _, _, units in bins],
        color=look.colour,
        marker=look.marker,
    )


def _floor(curves: Sequence[Json], false: str) -> float:
    """Return a tenth below which no curve has a false box: there the axis may begin."""
    reached: list[float] = [
        max(
            found
            for wrong, found in zip(curve[false], curve["sensitivity"], strict=True)
            if not wrong
        )
        for curve in curves
    ]
    return max(0.0, ceil(10 * min(reached)) / 10 - 0.2)


def _said(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _diagonal(panel: Axes) -> None:
    panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.6)


def _square(panel: Axes) -> None:
    panel.set(xlim=(-_MARGIN, 1 + _MARGIN), ylim=(-_MARGIN, 1 + _MARGIN), aspect="equal")


def _legend(panel: Axes, title: str, place: str) -> None:
    """Name the methods; where none has a curve, say so."""
    if not panel.get_legend_handles_labels()[0]:
        panel.text(0.5, 0.5, "undefined", ha="center", va="center", color=GREY)
        return
    panel.legend(**{**_LEGEND, "title": title, "loc": place})


def _finished(figure: Figure, row: list[Axes]) -> Figure:
    for panel in row[1:]:
        panel.set_ylabel("")
    letter(row)
    return figure
