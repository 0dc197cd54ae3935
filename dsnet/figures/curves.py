"""All figures that are made from metrics alone: ``python -m dsnet.figures.curves``.

Precision-recall, ROC, calibration, FROC and decision curves, and confusion matrices.
"""

from collections.abc import Sequence
from math import floor, isnan
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dsnet.figures import (
    BLACK,
    COLUMN_MM,
    GREY,
    Caption,
    letter,
    look_of,
    name_lines,
    panels,
    save,
    styled,
)
from dsnet.schemas import CLASSES
from dsnet.step import run
from dsnet.tables import Entry, Json, evaluation_note, is_baseline, read_entry, title_of

_FIRST = "Curves and bands of the first seed"
_BANDS = (
    "Bands: of {banded}; at each point 95 % of {resamples} resamples of the {patients} patients "
    "(percentile bootstrap)."
)

CAPTIONS = {
    "precision_recall": (
        "Precision-recall curves",
        "Precision against recall of each class at IoU 0.5, interpolated as in COCO's AP "
        f"(interpretation 13); {{boxes}} annotated boxes. {_FIRST}; in the panels AP, {{mean}}. "
        f"{_BANDS}",
    ),
    "roc": (
        "ROC curves",
        "Each class against the rest, by level (A to C) and by patient (D to F), of the detectors "
        f"and of bone density in HU within the annotated boxes. {_FIRST}; in the panels the area "
        f"under the curve (AUC), {{mean}}. {_BANDS}",
    ),
    "calibration": (
        "Calibration",
        "Accuracy against confidence, the probability of the likeliest class, of the localised "
        "boxes, in bins of equal width; a mark is as large as the share of the boxes in its bin. "
        "On the grey line confidence equals accuracy. Each patient is scaled by the temperature "
        f"fitted on the other test patients. {_FIRST}; in the panels the debiased root mean square "
        f"calibration error (RMSCE), {{mean}}. {_BANDS}",
    ),
    "froc": (
        "Free-response ROC curves",
        "Share of the vertebrae localised, regardless of class, against false boxes: by image, "
        "where each of the {boxes} boxes counts (A), and by patient, where a vertebra is localised "
        f"when it is on any of its slices (B). {_FIRST}. The axes are cut to where the "
        "curves rise; an axis that goes beyond 1 false box is logarithmic from 0.1 on. "
        f"{_BANDS}",
    ),
    "decision": (
        "Decision curves",
        "Net benefit, per 100 patients, of sending those to DXA whose probability of osteoporosis "
        "reaches a threshold, against that threshold (Vickers and Elkin 2006); grey: DXA for all, "
        "black: for none. It is bound to the share of osteoporosis among these test patients, "
        f"{{prevalence:.0f}} %. First seed. {_BANDS}",
    ),
    "confusion_box": (
        "Confusion matrices of boxes",
        "Boxes matched regardless of class (interpretation 14), {boxes} annotated; annotated boxes "
        "without a match are missed, detections without one are false boxes. Counts, and percent "
        "of the row; grey: cannot be counted; first seed.",
    ),
    "confusion_level": (
        "Confusion matrices of levels",
        "Each level of each patient, {levels} in all, from its localised boxes on all slices. "
        "Counts, and percent of the row; first seed.",
    ),
    "confusion_patient": (
        "Confusion matrices of patients",
        "Each of {patients} patients, from all boxes on all slices. Counts, and percent of the "
        "row; first seed.",
    ),
}
"""Title and text of each figure, with the names that `_caption` fills in."""

_MARGIN = 0.02
_DARK = 0.65
"""Share from which a cell of a confusion matrix is so dark that its text is white."""

_LINEAR = 0.1  # false boxes up to which the axis of a FROC curve is linear, to show 0, too
_LEAST_CONFIDENCE = 0.3
"""Where the axis of a calibration curve begins: the likeliest of three classes has a third."""

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
        [read_entry(name, metrics, "curves", "bands", "decision") for name in names]
        for names in (variants, baselines)
    )
    with styled():
        figures = {
            "precision_recall": precision_recall(entries),
            "roc": roc([*entries, *others]),
            "calibration": calibration(entries),
            "froc": froc(entries),
            "decision": decision([*entries, *others]),
            **{
                f"confusion_{unit}": confusion(entries, unit)
                for unit in ("box", "level", "patient")
            },
        }
        for name, figure in figures.items():
            save(figure, folder, name, _caption(name, entries))


def _caption(name: str, entries: Sequence[Entry]) -> Caption:
    title, text = CAPTIONS[name]
    report = entries[0].report
    counts, seeds = report["counts"], len(report["seeds"])
    filled = text.format(
        resamples=report["interval"]["resamples"],
        patients=counts["patients"],
        boxes=counts["boxes"],
        prevalence=100 * (report["decision"]["prevalence"] or 0),
        levels=sum(map(sum, report["confusion"]["level"]["counts"])),
        banded=" and ".join(title_of(entry.name) for entry in _banded(entries)),
        mean="of the same training" if seeds == 1 else f"the mean over {seeds} trainings",
    )
    return Caption(title, filled, evaluation_note(report))


def precision_recall(entries: Sequence[Entry]) -> Figure:
    """Return the precision-recall curves at IoU 0.5, a panel for each class."""
    figure, [row] = panels(1, len(CLASSES), height_mm=72)
    for panel, name in zip(row, CLASSES, strict=True):
        _bands(panel, entries, "pr", name)
        for entry in entries:
            curve = entry.report["curves"]["pr"][name]
            if curve:
                value = entry.value(f"ap_{name}")
                _line(panel, entry, curve["recall"], curve["precision"], value)
        panel.set(title=name, xlabel="recall", ylabel="precision")
        _square(panel)
        _values(panel, "AP", "lower left")
    return _finished(figure, [row], entries)


def roc(entries: Sequence[Entry]) -> Figure:
    """Return the one-vs-rest ROC curves: a column for each class, a row for levels and patients.

    Baselines may stand among the detectors.
    """
    figure, rows = panels(2, len(CLASSES), height_mm=130)
    for row, unit in zip(rows, ("level", "patient"), strict=True):
        for panel, name in zip(row, CLASSES, strict=True):
            _diagonal(panel)
            _bands(panel, entries, "roc", unit, name)
            for entry in entries:
                curve = entry.report["curves"]["roc"][unit][name]
                if curve:
                    value = entry.value(f"{unit}_auc_{name}")
                    _line(panel, entry, curve["fpr"], curve["tpr"], value)
            panel.set(title=f"{name}, by {unit}", xlabel="1 - specificity", ylabel="sensitivity")
            _square(panel)
            _values(panel, "AUC", "lower right")
    return _finished(figure, rows, entries)


def calibration(entries: Sequence[Entry]) -> Figure:
    """Return the reliability of the localised boxes, before and after temperature scaling."""
    figure, rows = panels(2, 1, height_mm=150, width_mm=COLUMN_MM)
    for [panel], when in zip(rows, ("before", "after"), strict=True):
        _diagonal(panel)
        _bands(panel, entries, "calibration", when)
        for entry in entries:
            curve = entry.report["curves"]["calibration"][when]
            if curve:
                value = entry.report["calibration"][when]["ece_debiased"]["value"]
                _line(panel, entry, curve["confidence"], curve["accuracy"], value)
                _dots(panel, entry, curve["confidence"], curve["accuracy"], curve["count"])
        panel.set(title=f"{when} temperature scaling", xlabel="confidence", ylabel="accuracy")
        panel.set(xlim=(_LEAST_CONFIDENCE, 1 + _MARGIN), ylim=(-_MARGIN, 1 + _MARGIN))
        _values(panel, "RMSCE", "best")
    return _finished(figure, rows, entries)


def froc(entries: Sequence[Entry]) -> Figure:
    """Return the share of vertebrae localised against false boxes, by image and by patient."""
    figure, rows = panels(2, 1, height_mm=135, width_mm=COLUMN_MM)
    for [panel], unit in zip(rows, ("image", "patient"), strict=True):
        false, rises = f"false_per_{unit}", [(1.0, 0.0)]
        _bands(panel, entries, "froc", unit)
        for entry in entries:
            curve = entry.report["curves"]["froc"][unit]
            _line(panel, entry, curve[false], curve["sensitivity"], stair=True)
            rises.append(_rise(curve[false], curve["sensitivity"]))
        for entry in _banded(entries):
            band = entry.report["bands"]["froc"][unit]
            rises.append(_rise(band[false], band["low"]))
        reached, risen = min(at_zero for at_zero, _ in rises), max(last for _, last in rises)
        panel.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        panel.set(title=f"by {unit}", xlabel=f"false boxes per {unit}", ylabel="sensitivity")
        panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        if risen > 10 * _LINEAR:
            panel.set_xscale("symlog", linthresh=_LINEAR)
            panel.xaxis.set_major_formatter("{x:g}")
        panel.set(xlim=(0, 1.5 * risen if risen else None))
        panel.set(ylim=(max(0, floor(20 * reached - 0.5) / 20), 1 + _MARGIN / 4))
    return _finished(figure, rows, entries)


def decision(entries: Sequence[Entry]) -> Figure:
    """Return the net benefit of each method against DXA for all and for none."""
    figure, [[panel]] = panels(1, 1, height_mm=90, width_mm=COLUMN_MM)
    for entry in entries:
        curve, look = entry.report["decision"], look_of(entry.name)
        at, value, low, high = (
            100 * np.array(curve[key], dtype=np.float64)
            for key in ("threshold", "value", "low", "high")
        )
        _line(panel, entry, at.tolist(), value.tolist())
        if entry in _banded(entries):
            panel.fill_between(at, low, high, color=look.colour, alpha=0.15, linewidth=0)
    shared = entries[0].report["decision"]
    thresholds, everyone = (
        100 * np.array(shared[key], dtype=np.float64) for key in ("threshold", "all")
    )
    panel.plot(thresholds, everyone, color=GREY, linewidth=1.2)
    panel.axhline(0, color=BLACK, linewidth=1.2)
    top = 100 * (shared["prevalence"] or 0)
    named = int(np.abs(everyone - top / 2).argmin())
    panel.text(thresholds[named], everyone[named], "DXA for all ", ha="right", va="top", size=8)
    panel.text(thresholds[-1], 0, "for none", ha="right", va="bottom", size=8)
    panel.set(xlabel="threshold probability, %", ylabel="net benefit per 100 patients")
    panel.set(xlim=(0, None), ylim=(-top / 5, 1.1 * top) if top else None)
    name_lines(figure, {title_of(entry.name): look_of(entry.name) for entry in entries}, 2)
    return figure


def confusion(entries: Sequence[Entry], unit: str) -> Figure:
    """Return the confusion matrices of one unit, a panel for each method.

    Parameters
    ----------
    entries : sequence of Entry
    unit : str
        A key of ``confusion`` in their reports: ``box``, ``level`` or ``patient``.
    """
    tables = [entry.report["confusion"][unit] for entry in entries]
    figure, [row] = panels(1, len(entries), height_mm=26 + 9 * len(tables[0]["rows"]))
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
    panel.imshow(np.where(np.isnan(counts), 0.3, np.nan), cmap="Greys", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if isnan(count):
            continue
        fraction = share[row, column]
        text = f"{count:g}" if isnan(fraction) else f"{count:g}\n{100 * fraction:.0f} %"
        colour = "white" if fraction > _DARK else BLACK
        panel.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
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
    value: float | None = None,
    *,
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
        label="undefined" if value is None else f"{value:.2f}",
    )


def _banded(entries: Sequence[Entry]) -> list[Entry]:
    """Return the methods with a band: the first and last detector, more could not be separated."""
    detectors = [entry for entry in entries if not is_baseline(entry.name)]
    return [detectors[0], detectors[-1]] if len(detectors) > 1 else detectors


def _bands(panel: Axes, entries: Sequence[Entry], *keys: str) -> None:
    """Draw the bands of `_banded`; `keys` lead to a band within ``bands`` of a report."""
    step: Any = "post" if keys[0] == "froc" else None
    for entry in _banded(entries):
        band = entry.report["bands"]
        for key in keys:
            band = band[key]
        if band is None:
            continue
        look = look_of(entry.name)
        x, low, high = (np.array(values, dtype=np.float64) for values in band.values())
        panel.fill_between(x, low, high, step=step, color=look.colour, alpha=0.15, linewidth=0)
        edge: dict[str, Any] = {"color": look.colour, "linestyle": look.line, "linewidth": 0.5}
        edge["drawstyle"] = f"steps-{step}" if step else "default"
        panel.plot(x, low, **edge)
        panel.plot(x, high, **edge)


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


def _rise(false: _Points, sensitivity: _Points) -> tuple[float, float]:
    """Return the sensitivity before the first false box, and how many there are at the largest."""
    points = [(x, y) for x, y in zip(false, sensitivity, strict=True) if y is not None]
    before = max((y for x, y in points if not x), default=0.0)
    largest = max((y for _, y in points), default=0.0)
    return before, min((x for x, y in points if y == largest), default=0.0)


def _diagonal(panel: Axes) -> None:
    panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.6)


def _square(panel: Axes) -> None:
    ticks = np.linspace(0, 1, 6)
    panel.set(xticks=ticks, yticks=ticks)
    panel.set(xlim=(-_MARGIN, 1 + _MARGIN), ylim=(-_MARGIN, 1 + _MARGIN), aspect="equal")


def _values(panel: Axes, title: str, loc: Any) -> None:
    """Write the figure of each line in the panel; where none has a curve, write "undefined"."""
    if not panel.get_legend_handles_labels()[0]:
        panel.text(0.5, 0.5, "undefined", ha="center", va="center", color=GREY)
        return
    panel.legend(
        title=title,
        loc=loc,
        handlelength=2.4,
        labelspacing=0.3,
        borderaxespad=0.2,
        frameon=True,
        framealpha=0.75,
        edgecolor="none",
    )


def _finished(figure: Figure, rows: list[list[Axes]], entries: Sequence[Entry]) -> Figure:
    """Label outer axes only, and name panels and methods."""
    for row in rows:
        for panel in row[1:]:
            panel.set_ylabel("")
    if len(rows[0]) > 1:
        for row in rows[:-1]:
            for panel in row:
                panel.set_xlabel("")
    letter([panel for row in rows for panel in row])
    looks = {title_of(entry.name): look_of(entry.name) for entry in entries}
    name_lines(figure, looks, len(entries) if len(rows[0]) > 1 else 2)
    return figure


if __name__ == "__main__":
    run(write_curves)
