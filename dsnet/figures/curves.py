"""All figures that are made from metrics alone: ``python -m dsnet.figures.curves``.

Precision-recall, ROC, calibration and FROC curves, and confusion matrices.
"""

from collections.abc import Sequence
from math import ceil, isnan
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dsnet.figures.style import BLACK, GREY, Caption, letter, look_of, panels, save, styled
from dsnet.schemas import CLASSES
from dsnet.step import run
from dsnet.tables.methods import Entry, Json, evaluation_note, read_report, title_of

CAPTIONS = {
    "precision_recall": (
        "Precision-recall curves",
        "Precision against recall of each class at IoU 0.5, interpolated as in COCO's AP "
        "(interpretation 13); curves of the first seed, AP as the mean over the seeds.",
    ),
    "roc": (
        "ROC curves",
        "Each class against the rest, by level (A to C) and by patient (D to F), of the detectors "
        "and of bone density in HU within the annotated boxes; curves of the first seed, "
        "area under the curve (AUC) as the mean over the seeds.",
    ),
    "calibration": (
        "Calibration",
        "Accuracy against confidence, the probability of the likeliest class, of the localised "
        "boxes, in bins of equal width; a mark is as large as the share of the boxes in its bin. "
        "On the grey line confidence equals accuracy. Each patient is scaled by the temperature "
        "fitted on the other test patients. Curves of the first seed; debiased root mean square "
        "calibration error (RMSCE) as the mean over the seeds.",
    ),
    "froc": (
        "Free-response ROC curves",
        "Share of the vertebrae localised, regardless of class, against false boxes: by image, "
        "where each box counts (A), and by patient, where a vertebra is localised when it is on "
        "any of its slices (B). First seed. The sensitivity axis is cut; that of false boxes is "
        "logarithmic beyond 0.1.",
    ),
    "confusion_box": (
        "Confusion matrices of boxes",
        "Boxes matched regardless of class (interpretation 14); annotated boxes "
        "without a match are missed, detections without one are false boxes. Counts, and percent "
        "of the row. First seed.",
    ),
    "confusion_level": (
        "Confusion matrices of levels",
        "Each level of each patient, from its localised boxes on all slices. Counts, and percent "
        "of the row. First seed.",
    ),
    "confusion_patient": (
        "Confusion matrices of patients",
        "Each patient, from all boxes on all slices. Counts, and percent of the row. First seed.",
    ),
}
"""Title and text of each figure."""

_HEIGHT_MM = 70.0
_MARGIN = 0.02
_DARK = 0.55
"""Share from which a cell of a confusion matrix is so dark that its text is white."""

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


def write_curves(*, variants: list[str], baselines: list[str], metrics: Path, folder: Path) -> None:
    """Write every figure of `CAPTIONS` as ``{name}.png``, ``.svg`` and ``.json`` (its caption).

    Parameters
    ----------
    variants : list of str
        Detectors in order, as ``backbone/attention``.
    baselines : list of str
        Methods without boxes of their own, ``hu/...``, that stand among the ROC curves.
    metrics : Path
        Folder of ``{backbone}/{attention}.json`` and ``hu/....json``.
    folder : Path
        Where the figures go.
    """
    entries, others = (
        [Entry(name, read_report(metrics, name)) for name in names]
        for names in (variants, baselines)
    )
    data = evaluation_note(entries[0].report)
    with styled():
        figures = {
            "precision_recall": precision_recall(entries),
            "roc": roc([*entries, *others]),
            "calibration": calibration(entries),
            "froc": froc(entries),
            **{
                f"confusion_{unit}": confusion(entries, unit)
                for unit in ("box", "level", "patient")
            },
        }
        for name, figure in figures.items():
            save(figure, folder, name, Caption(*CAPTIONS[name], data))


def precision_recall(entries: Sequence[Entry]) -> Figure:
    """Return the precision-recall curves at IoU 0.5, a panel for each class."""
    figure, [row] = panels(1, len(CLASSES), height_mm=_HEIGHT_MM)
    for panel, name in zip(row, CLASSES, strict=True):
        for entry in entries:
            curve = entry.report["curves"]["pr"][name]
            if curve:
                value = _two_decimals(entry.value(f"ap_{name}"))
                _line(panel, entry, curve["recall"], curve["precision"], value)
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
                    value = _two_decimals(entry.value(f"{unit}_auc_{name}"))
                    _line(panel, entry, curve["fpr"], curve["tpr"], value)
            panel.set(title=f"{name}, by {unit}", xlabel="1 - specificity", ylabel="sensitivity")
            _square(panel)
            _legend(panel, "AUC", "lower right")
        for panel in row[1:]:
            panel.set_ylabel("")
    letter([panel for row in rows for panel in row])
    return figure


def calibration(entries: Sequence[Entry]) -> Figure:
    """Return the reliability of the localised boxes, before and after temperature scaling."""
    figure, [row] = panels(1, 2, height_mm=_HEIGHT_MM + 32)
    for panel, when in zip(row, ("before", "after"), strict=True):
        _diagonal(panel)
        for entry in entries:
            curve = entry.report["curves"]["calibration"][when]
            if curve:
                value = _two_decimals(entry.report["calibration"][when]["ece_debiased"]["value"])
                _line(panel, entry, curve["confidence"], curve["accuracy"], value, marked=True)
                _dots(panel, entry, curve["confidence"], curve["accuracy"], curve["count"])
        panel.set(title=f"{when} temperature scaling", xlabel="confidence", ylabel="accuracy")
        _square(panel)
        _legend(panel, "RMSCE", "lower right")
    return _finished(figure, row)


def froc(entries: Sequence[Entry]) -> Figure:
    """Return the share of vertebrae localised against false boxes, by image and by patient."""
    figure, [row] = panels(1, 2, height_mm=_HEIGHT_MM)
    for panel, unit in zip(row, ("image", "patient"), strict=True):
        curves = [entry.report["curves"]["froc"][unit] for entry in entries]
        false = f"false_per_{unit}"
        for entry, curve in zip(entries, curves, strict=True):
            _line(panel, entry, curve[false], curve["sensitivity"], stair=True)
        panel.yaxis.set_major_locator(MaxNLocator(5))
        # Linear up to one false box in ten, to show the start at none, too.
        panel.set_xscale("symlog", linthresh=0.1)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.set(title=f"by {unit}", xlabel=f"false boxes per {unit}", xlim=(0, None))
        panel.set(ylabel="sensitivity", ylim=(_floor(curves, false), 1 + _MARGIN))
        _legend(panel, "", "lower right")
    return _finished(figure, row)


def confusion(entries: Sequence[Entry], unit: str) -> Figure:
    """Return the confusion matrices of one unit, a panel for each method.

    Parameters
    ----------
    entries : sequence of Entry
    unit : str
        A key of ``confusion`` in their reports: ``box``, ``level`` or ``patient``.
    """
    tables = [entry.report["confusion"][unit] for entry in entries]
    figure, [row] = panels(1, len(entries), height_mm=28 + 9 * len(tables[0]["rows"]))
    for column, (panel, entry, table) in enumerate(zip(row, entries, tables, strict=True)):
        _matrix(panel, table)
        panel.set_title(title_of(entry.name))
        if column:
            panel.set_yticklabels([])
    row[0].set_ylabel("annotated")
    return figure


def _matrix(panel: Axes, table: Json) -> None:
    counts = np.array(table["counts"], dtype=np.float64)
    # There is no count of the false boxes that were not reported.
    if "false box" in table["rows"]:
        counts[table["rows"].index("false box"), table["columns"].index("missed")] = np.nan
    total = np.nansum(counts, axis=1, keepdims=True)
    share = np.full_like(counts, np.nan)
    np.divide(counts, total, out=share, where=total > 0)
    # Shades of one hue: as readable in grey.
    panel.imshow(np.nan_to_num(share), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if isnan(count):
            continue
        fraction = share[row, column]
        text = f"{count:g}" if isnan(fraction) else f"{count:g}\n{100 * fraction:.0f} %"
        colour = "white" if fraction > _DARK else BLACK
        panel.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
    columns, rows = ([name.replace("_", " ") for name in table[key]] for key in ("columns", "rows"))
    panel.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    panel.set_yticks(range(len(rows)), rows)
    panel.set_xlabel("predicted")
    panel.grid(visible=False)
    panel.tick_params(length=0)


def _line(
    panel: Axes,
    entry: Entry,
    x: _Points,
    y: _Points,
    value: str = "",
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
        label=f"{title_of(entry.name)} {value}".rstrip(),
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
            sensitivity
            for boxes, sensitivity in zip(curve[false], curve["sensitivity"], strict=True)
            if not boxes
        )
        for curve in curves
    ]
    return max(0.0, ceil(10 * min(reached)) / 10 - 0.2)


def _two_decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _diagonal(panel: Axes) -> None:
    panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.6)


def _square(panel: Axes) -> None:
    panel.set(xlim=(-_MARGIN, 1 + _MARGIN), ylim=(-_MARGIN, 1 + _MARGIN), aspect="equal")


def _legend(panel: Axes, title: str, loc: str) -> None:
    """Name the methods; where none has a curve, write "undefined"."""
    if not panel.get_legend_handles_labels()[0]:
        panel.text(0.5, 0.5, "undefined", ha="center", va="center", color=GREY)
        return
    panel.legend(**{**_LEGEND, "title": title, "loc": loc})


def _finished(figure: Figure, row: list[Axes]) -> Figure:
    for panel in row[1:]:
        panel.set_ylabel("")
    letter(row)
    return figure


if __name__ == "__main__":
    run(write_curves)
