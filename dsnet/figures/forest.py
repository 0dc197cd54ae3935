"""Each detector's map, and its difference to no attention: ``python -m dsnet.figures.forest``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dsnet.figures import BLACK, GREY, Caption, letter, look_of, panels, save, styled
from dsnet.step import run
from dsnet.tables import Entry, evaluation_note, read_csv, read_entry, title_of
from dsnet.tables.literature import reported

TITLE = "Map of each detector, and what attention adds to it"
TEXT = (
    "A: map (AP at IoU 0.5, mean over the classes) with its 95 % interval (random: {scope}); "
    "chance: what 97.5 % of the permutations of the patients' "
    "classes stay below; the paper's figures are of other data; gamma: how much of each attention "
    "module the training of seed {seed} adds, by site (interpretation 5). B: difference to the "
    "same backbone without attention on the same patients, with its 95 % interval{test}."
)
SEVERAL = (
    ", the trainings of a seed paired, and the p-value after Holm's correction over these "
    "differences"
)
ONE = ": of these two trainings, from which nothing follows for the modules"


def write_forest(
    *,
    variants: list[str],
    seeds: list[int],
    metrics: Path,
    models: Path,
    differences: Path,
    folder: Path,
) -> None:
    """Write ``forest.png``, ``.svg`` and ``.json`` (the caption).

    Parameters
    ----------
    variants : list of str
        Detectors from top to bottom, as ``backbone/attention``.
    seeds : list of int
        That each was trained with.
    metrics : Path
        Folder of ``{backbone}/{attention}.json``.
    models : Path
        Folder of ``{backbone}/{attention}/seed{seed}/manifest.json``.
    differences : Path
        As `dsnet.evaluate.compare` writes it.
    folder : Path
        Where the figure goes.
    """
    entries = [
        read_entry(name, metrics, run=models / name / f"seed{seeds[0]}") for name in variants
    ]
    rows = read_csv(differences)
    with styled():
        report = entries[0].report
        test = SEVERAL if len(report["seeds"]) > 1 else ONE
        text = TEXT.format(scope=report["interval"]["scope"], seed=seeds[0], test=test)
        caption = Caption(TITLE, text, evaluation_note(report))
        save(forest_figure(entries, rows[rows["statistic"] == "map"]), folder, "forest", caption)


def forest_figure(entries: Sequence[Entry], differences: pd.DataFrame) -> Figure:
    """Return the figure; `differences` in percent points, one row for each attention."""
    figure, [[left, right]] = panels(1, 2, height_mm=32 + 9 * len(entries))
    by_name = {
        f"{row['backbone']}/{row['attention']}": row for row in differences.to_dict("records")
    }
    labels = [""] * len(entries)
    for y, entry in enumerate(entries):
        _map(left, y, entry)
        if entry.name in by_name:
            labels[y] = _difference(right, y, entry.name, by_name[entry.name])
    left.set(title="map", xlabel="map (%)")
    left.set_yticks(range(len(entries)), [_label(entry) for entry in entries])
    right.axvline(0, color=BLACK, linewidth=0.8)
    right.set(title="difference to no attention", xlabel="difference in map (percent points)")
    reach = max(abs(edge) for edge in right.get_xlim())
    right.set_xlim(-reach, reach)
    right.yaxis.tick_right()
    right.set_yticks(range(len(entries)), labels)
    for panel in (left, right):
        panel.set_ylim(len(entries) - 0.5, -0.5)
        panel.grid(visible=False, axis="y")
        panel.tick_params(axis="y", length=0)
        panel.spines["left"].set_visible(False)
    letter([left, right])
    # The marks of one row stand for those of all.
    handles = dict(zip(*reversed(left.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
    return figure


def _label(entry: Entry) -> str:
    gamma = entry.of_attention("gamma")
    return f"{title_of(entry.name)}\ngamma {gamma}" if gamma else title_of(entry.name)


def _map(panel: Axes, y: int, entry: Entry) -> None:
    statistic = entry.report["metrics"]["map"]
    _interval(panel, y, entry.name, [statistic[name] for name in ("value", "low", "high")])
    seeds = [seed for seed in statistic["by_seed"] if seed is not None]
    if len(seeds) > 1:
        _mark(panel, seeds, y + 0.25, ".", "single seeds")
    chance = entry.report["chance"]["p975"]
    if chance is not None:
        _mark(panel, [chance], y, "|", "chance, 97.5 %")
    paper = reported(entry.backbone, entry.attention)
    if paper:
        _mark(panel, [paper.map / 100], y - 0.25, "D", "the paper, on other data")


def _difference(panel: Axes, y: int, name: str, row: Mapping[Any, Any]) -> str:
    """Draw one difference and return it in words."""
    value, low, high, p = (
        None if pd.isna(row[column]) else float(row[column])
        for column in ("difference", "low", "high", "p_holm")
    )
    _interval(panel, y, name, [x if x is None else x / 100 for x in (value, low, high)])
    if value is None:
        return ""
    return f"{value:+.1f}" if p is None else f"{value:+.1f}, p = {p:.2g}"


def _interval(panel: Axes, y: int, name: str, fractions: Sequence[float | None]) -> None:
    """Draw value, low and high."""
    look = look_of(name)
    value, low, high = (None if x is None else 100 * x for x in fractions)
    if low is not None and high is not None:
        panel.plot([low, high], [y, y], color=look.colour, linewidth=1.6)
    if value is not None:
        panel.plot(value, y, look.marker, color=look.colour, markersize=5.5)


def _mark(panel: Axes, fractions: Sequence[float], y: float, marker: str, what: str) -> None:
    panel.plot(
        [100 * x for x in fractions],
        [y] * len(fractions),
        marker,
        label=what,
        color=GREY,
        markersize=10 if marker == "|" else 4,
        markerfacecolor="none" if marker == "D" else GREY,
        markeredgewidth=1.6 if marker == "|" else 0.8,
    )


if __name__ == "__main__":
    run(write_forest)
