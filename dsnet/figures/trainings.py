"""What detectors learnt from, how, and to what end: one figure each, over all trainings.

``python -m dsnet.figures.trainings write-patients`` (patients and slices of each class in each
subset), ``write-learning`` (how the loss fell and the validation map rose) and ``write-forest``
(each detector's map, and its difference to no attention).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dsnet import schemas
from dsnet.evaluate.provenance import data_note, read_provenance
from dsnet.figures import (
    ATTENTION_LOOKS,
    BLACK,
    CLASS_LOOKS,
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
from dsnet.schemas import CLASSES, SUBSETS, is_leaky
from dsnet.step import run
from dsnet.tables import Entry, evaluation_note, read_csv, read_entry, title_of
from dsnet.tables.literature import reported

_BAR = 0.26

PATIENTS_TITLE = "Patients and slices by class and subset"
PATIENTS_TEXT = (
    "{patients} patients (A) and their {slices} slices (B) in the training, validation and test "
    "subset, by the class of the patient by which the split was stratified. {shared}"
)


def write_patients(*, split: Path, digest: Path, folder: Path) -> None:
    """Write ``patients.png``, ``.svg`` and ``.json`` (the caption).

    Parameters
    ----------
    split : Path
        Under `schemas.SPLIT`.
    digest : Path
        Digest of the slice store, which names the cohort.
    folder : Path
        Where the figure goes.
    """
    table = schemas.read(schemas.SPLIT, split)
    text = PATIENTS_TEXT.format(
        patients=table["patient_key"].nunique(),
        slices=table["image_key"].nunique(),
        shared="Split by image: patients are in several subsets, and counted in each."
        if is_leaky(table)
        else "No patient is in two subsets.",
    )
    with styled():
        caption = Caption(PATIENTS_TITLE, text, data_note(read_provenance(digest, split)))
        save(patients_figure(table), folder, "patients", caption)


def patients_figure(split: pd.DataFrame) -> Figure:
    """Return the figure of a table under `schemas.SPLIT`."""
    groups = split.groupby(["subset", "stratum"])
    figure, [[upper], [lower]] = panels(2, 1, height_mm=115, width_mm=COLUMN_MM)
    for panel, counts, title in (
        (upper, groups["patient_key"].nunique(), "patients"),
        (lower, groups["image_key"].nunique(), "slices"),
    ):
        _bars(panel, dict(counts))
        panel.set(title=title, ylabel=f"number of {title}")
    letter([upper, lower])
    figure.legend(*upper.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _bars(panel: Axes, counts: Mapping[tuple[str, str], int]) -> None:
    for k, name in enumerate(CLASSES):
        look = CLASS_LOOKS[name]
        bars = panel.bar(
            [x + (k - 1) * _BAR for x in range(len(SUBSETS))],
            [counts.get((subset, name), 0) for subset in SUBSETS],
            0.9 * _BAR,
            label=name,
            color="white" if look.hatch else look.colour,
            edgecolor=look.colour,
            hatch=look.hatch,
        )
        panel.bar_label(bars, fontsize=7, padding=1)
    panel.set_xticks(range(len(SUBSETS)), SUBSETS)
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    panel.margins(y=0.1)
    panel.grid(visible=False, axis="x")


_NAMES = {"none": "no attention"}

LEARNING_TITLE = "Learning curves"
LEARNING_TEXT = (
    "Mean loss of each epoch on the training subset ({train}; left), and map (AP at IoU 0.5, mean "
    "over the classes) on the validation subset ({validation}) where the epoch was evaluated "
    "(right). {seeds} The axes do not begin at 0. The weights "
    "that a table evaluates are those of the epoch that the run manifest names."
)

_LEAST_SPAN = 10.0
"""Points of map that an axis spans at least: less would make much of a difference of nothing."""


def write_learning(
    *, variants: list[str], seeds: list[int], models: Path, digest: Path, split: Path, folder: Path
) -> None:
    """Write ``learning.png``, ``.svg`` and ``.json`` (the caption).

    Parameters
    ----------
    variants : list of str
        Detectors, as ``backbone/attention``.
    seeds : list of int
    models : Path
        Folder of ``{backbone}/{attention}/seed{seed}/history.csv``.
    digest : Path
        Digest of the slice store, which names the cohort.
    split : Path
        Under `schemas.SPLIT`, which is marked where it leaks.
    folder : Path
        Where the figure goes.
    """
    histories = {
        name: pd.concat(
            schemas.read(schemas.HISTORY, models / name / f"seed{seed}" / "history.csv")
            for seed in seeds
        )
        for name in variants
    }
    sizes = {
        str(subset): f"{rows['patient_key'].nunique()} patients, {len(rows)} slices"
        for subset, rows in schemas.read(schemas.SPLIT, split).groupby("subset")
    }
    text = LEARNING_TEXT.format(
        **sizes,
        seeds=f"One training each, seed {seeds[0]}."
        if len(seeds) == 1
        else f"Lines: mean over the seeds {', '.join(map(str, seeds))}; bands: their range.",
    )
    with styled():
        caption = Caption(LEARNING_TITLE, text, data_note(read_provenance(digest, split)))
        save(learning_figure(histories), folder, "learning", caption)


def learning_figure(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Return the figure: a row of panels for each backbone.

    Parameters
    ----------
    histories : mapping of str to DataFrame
        By ``backbone/attention``: rows under `schemas.HISTORY` of all its seeds.
    """
    backbones = list(dict.fromkeys(name.partition("/")[0] for name in histories))
    figure, rows = panels(len(backbones), 2, height_mm=10 + 58 * len(backbones))
    for backbone, (left, right) in zip(backbones, rows, strict=True):
        for name, history in histories.items():
            if name.partition("/")[0] == backbone:
                _line(left, name, history.set_index("epoch")["loss"])
                _line(right, name, 100 * history.set_index("epoch")["validation_map"].dropna())
        title = title_of(f"{backbone}/none")
        left.set(title=f"{title}, training", ylabel="loss")
        right.set(title=f"{title}, validation", ylabel="map (%)")
        for panel in (left, right):
            panel.set_xlabel("epoch")
            panel.set_xlim(left.get_xlim())  # validations may be few
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        low, high = right.get_ylim()
        missing = max(0.0, _LEAST_SPAN - (high - low)) / 2
        right.set_ylim(low - missing, high + missing)
    letter([panel for row in rows for panel in row])
    attentions = dict.fromkeys(name.partition("/")[2] for name in histories)
    looks = {_NAMES.get(name, name.upper()): ATTENTION_LOOKS[name] for name in attentions}
    name_lines(figure, looks, len(looks))
    return figure


def _line(panel: Axes, name: str, values: pd.Series) -> None:
    """Draw the mean over the seeds and their range; `values` by epoch, one for each seed."""
    look = look_of(name)
    seeds = values.groupby(level=0)
    mean, low, high = seeds.mean(), seeds.min(), seeds.max()
    panel.fill_between(mean.index, low, high, color=look.colour, alpha=0.15, linewidth=0)
    panel.plot(
        mean.index,
        mean,
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markersize=3.5,
        markevery=max(1, len(mean) // 10),
    )


FOREST_TITLE = "Map of each detector, and what attention adds to it"
FOREST_TEXT = (
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
        text = FOREST_TEXT.format(scope=report["interval"]["scope"], seed=seeds[0], test=test)
        caption = Caption(FOREST_TITLE, text, evaluation_note(report))
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
    run(write_patients, write_learning, write_forest)
