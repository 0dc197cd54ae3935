"""What is recorded of the trainings: Tables 1 and 2, the same for DVC, and what each job cost.

``python -m dsnet.tables.detectors tabulate`` writes one table of detectors and its summary with
intervals, from the files of every training; ``dsnet show`` prints it. ``record`` writes what DVC
shows of Table 1: one small JSON for each method, which are the rows of ``dvc metrics show``, and
one CSV for each plot of ``dvc plots show`` with a column for each method.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dsnet import schemas
from dsnet.errors import UserError
from dsnet.files import read_json, write_csv, write_json, write_text
from dsnet.schemas import CLASSES
from dsnet.step import run
from dsnet.tables import BOUNDS, METHOD, Entry, Json, check_made, read_csv, read_entry, title_of
from dsnet.tables.literature import reported

MEASURES = {
    "map": "map",
    "recall": "recall",
    "accuracy": "accuracy",
    # Interpretations 15 and 13: always beside those above.
    "localised_accuracy": "localised_accuracy",
    "map_50_95": "map_50_95",
    "voc_map": "voc_map",
    # Eq. 3 is called `paper_map` among the metrics; here that is the figure that the paper prints.
    "macro_precision": "paper_map",
}
"""Columns of the table in percent, and the statistic that each one shows."""

HEADLINE = ("map", "recall", "accuracy")

RATIOS = tuple(
    f"fps_to_{baseline}{suffix}"
    for baseline in ("none", "resnet50")
    for suffix in ("", "_low", "_high")
)
"""Speed by that of the same backbone, and of ResNet50, without attention (interpretation 16)."""

COLUMNS = (
    "method",
    "backbone",
    "attention",
    "seeds",
    "test_patients",
    "test_images",
    *HEADLINE,
    "fps",
    "ms_per_image",
    "parameters_m",
    *(f"paper_{name}" for name in HEADLINE),
    "data",
    *(f"{name}{suffix}" for name in HEADLINE for suffix in ("_low", "_high", "_seed_sd")),
    *(
        f"{name}{suffix}"
        for name in MEASURES
        if name not in HEADLINE
        for suffix in ("", "_low", "_high", "_seed_sd")
    ),
    "chance_p",
    "above_chance",
    "scope",
    "parameters_attention_m",
    "gamma",
    "branch_share_percent",
    *RATIOS,
    "ms_q1",
    "ms_q3",
    "device",
    "threads",
    "size_px",
    "paper_fps",
)

SUMMARY = (
    "map",
    "map_50_95",
    "voc_map",
    "paper_map",
    "recall",
    "accuracy",
    "accuracy_literal",
    "localised_accuracy",
    "box_ap50",
    "box_recall",
    *(f"ap_{name}" for name in CLASSES),
)
"""Statistics that the summary carries with their bounds; the rest stays in the metrics files."""

WITH_SPREAD = {**BOUNDS, "_seed_sd": "seed_sd"}
"""Bounds, and the standard deviation between the seeds."""

FOOTNOTE = (
    "Below each figure: its 95 % interval (random: {scope}), and what the paper "
    "reports on its own data. map: COCO AP50 over three classes (interpretation 13). Recall: "
    "class right, IoU >= {iou:g}, score >= {score:g} (interpretation 14). Acc: TP / (TP + FP + FN) "
    "(interpretation 15). Box AP: of the box alone, regardless of class. Images/s: {speed[name]}, "
    "{speed[threads]} threads, {speed[size_px]} px, batch 1, in one run (interpretation 16). "
    "All interpretations: docs/interpretations.md."
)


def tabulate(
    *,
    variants: list[str],
    seeds: list[int],
    metrics: Path,
    models: Path,
    speed: Path,
    table: Path,
    summary: Path,
) -> None:
    """Write a table of detectors, and its summary with intervals.

    Parameters
    ----------
    variants : list of str
        Rows of the table in order, as ``backbone/attention``.
    seeds : list of int
        Seeds that each variant was trained with.
    metrics : Path
        Folder of ``{backbone}/{attention}.json``.
    models : Path
        Folder of ``{backbone}/{attention}/seed{seed}/manifest.json``.
    speed : Path
        JSON with the speed of all variants, timed in one run.
    table : Path
        CSV to write; means over the seeds; percent where the paper uses percent.
    summary : Path
        JSON to write; fractions with their bounds, by backbone and attention.

    Raises
    ------
    UserError
        If a file is missing, or the detectors were not evaluated on the same images in the same
        way.
    """
    timing = read_json(speed)
    measured = {f"{row['backbone']}/{row['attention']}": row for row in timing["variants"]}
    runs = {name: models / name / f"seed{seeds[0]}" for name in variants}
    entries = [read_entry(name, metrics, run=runs[name], speed=measured[name]) for name in variants]
    _check_alike(entries, seeds)
    write_json(summary, summarise(entries, timing))
    rows = [_row(entry, timing) for entry in entries]
    write_csv(table, pd.DataFrame(rows, columns=list(COLUMNS)))


def _check_alike(entries: Sequence[Entry], seeds: list[int]) -> None:
    first = _evaluated_on(entries[0].report)
    for entry in entries:
        if _evaluated_on(entry.report) != first or entry.report["seeds"] != seeds:
            raise UserError(
                f"metrics of {entry.name}",
                expected=f"the test images and settings of {entries[0].name}, and seeds {seeds}",
                came="others",
                remedy="run the workflow, which evaluates all detectors alike",
            )


def _evaluated_on(report: Json) -> Json:
    """Return what all reports of a table must share: cohort, subset, images, thresholds."""
    shared = ("cohort", "synthetic", "slices_sha256", "subset", "thresholds", "interval")
    counts = {name: n for name, n in report["counts"].items() if name != "detections"}
    return {**{name: report[name] for name in shared}, "counts": counts}


def summarise(entries: Sequence[Entry], timing: Json) -> Json:
    """Return the summary of the table: statistics as fractions with 95 % bounds.

    Parameters
    ----------
    entries : sequence of Entry
    timing : dict
        What `dsnet.inference.speed` wrote; device and input size are taken over.
    """
    report, about = entries[0].report, entries[0].about
    summary: Json = {
        "data": about["data"],
        "subset": report["subset"],
        "test_patients": about["test_patients"],
        "test_images": about["test_images"],
        "test_boxes": report["counts"]["boxes"],
        "seeds": report["seeds"],
        "scope": about["scope"],
        "iou": report["thresholds"]["iou"],
        "score": report["thresholds"]["score"],
        "speed": {name: value for name, value in timing.items() if name != "variants"},
    }
    for entry in entries:
        summary.setdefault(entry.backbone, {})[entry.attention] = _summary(entry)
    return summary


def _row(entry: Entry, timing: Json) -> Json:
    paper = reported(entry.backbone, entry.attention)
    model, speed = entry.model, entry.speed
    ratios = {name: speed[name] for name in RATIOS}
    return {
        **entry.about,
        "method": METHOD,
        "backbone": entry.backbone,
        "attention": entry.attention,
        **{f"paper_{name}": paper and getattr(paper, name) for name in (*HEADLINE, "fps")},
        "chance_p": entry.report["chance"]["p_value"],
        "above_chance": entry.report["chance"]["above_chance"],
        **entry.percents(MEASURES, WITH_SPREAD),
        "fps": round(speed["fps"], 4),
        **{name: round(speed[name], 2) for name in ("ms_per_image", "ms_q1", "ms_q3")},
        **{name: None if ratio is None else round(ratio, 4) for name, ratio in ratios.items()},
        "parameters_m": round(model["parameters"] / 1e6, 3),
        "parameters_attention_m": round(model["parameters_attention"] / 1e6, 3),
        "gamma": entry.of_attention("gamma"),
        "branch_share_percent": entry.of_attention("branch_share", unit=0.01),
        "device": timing["name"],
        "threads": timing["threads"],
        "size_px": timing["size_px"],
    }


def _summary(entry: Entry) -> Json:
    chance = entry.report["chance"]
    statistics = {
        f"{name}{suffix}": entry.value(name, bound)
        for name in SUMMARY
        for suffix, bound in WITH_SPREAD.items()
    }
    return {
        **statistics,
        "chance_map_975": chance["p975"],
        "chance_p": chance["p_value"],
        "above_chance": chance["above_chance"],
        **{name: entry.speed[name] for name in ("fps", "ms_per_image", *RATIOS)},
        "parameters": entry.model["parameters"],
        **{name: entry.model[name] for name in ("parameters_attention", "gamma", "branch_share")},
        "seeds": entry.report["seeds"],
    }


def show(*, table: Path, summary: Path) -> None:
    """Print a table of detectors with intervals and the paper's figures.

    Parameters
    ----------
    table, summary : Path
        As `dsnet.tables.detectors.tabulate` writes them.

    Raises
    ------
    UserError
        If one of them is missing.
    """
    check_made(table, summary)
    rows, content = read_csv(table), read_json(summary)
    console = Console()
    console.print(detector_table(rows, content))
    console.print(escape(FOOTNOTE.format(**content)), style="dim")
    console.print(f"Data: {escape(content['data'])}. Not a medical device.", style="bold")


def detector_table(rows: pd.DataFrame, summary: Json) -> Table:
    """Return the table; `rows` as in the CSV, NaN for what is undefined."""
    patients, images = (summary[name] for name in ("test_patients", "test_images"))
    table = Table(
        title=f"{rows['method'].iloc[0]} on {patients} test patients, {images} images\n"
        f"{escape(summary['data'])}",
        box=SIMPLE_HEAD,
        leading=1,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("Detector")
    for name in ("map %", "Recall %", "Acc %", "Box AP %", "Images/s", "Weights"):
        table.add_column(name, justify="right")
    for row in rows.to_dict("records"):
        statistics = summary[row["backbone"]][row["attention"]]
        table.add_row(
            title_of(f"{row['backbone']}/{row['attention']}").replace("+", "\n+ "),
            *(_cell(name, row, statistics) for name in (*HEADLINE, "box_ap50")),
            f"{row['fps']:.2f}",
            f"{row['parameters_m']:.2f} M",
        )
    return table


def _cell(name: str, row: Mapping[Any, Any], statistics: Json) -> str:
    value, low, high = (statistics[f"{name}{suffix}"] for suffix in BOUNDS)
    lines = [
        _percent(value),
        "" if low is None or high is None else f"{_percent(low)}-{_percent(high)}",
    ]
    paper = row.get(f"paper_{name}")
    if not pd.isna(paper):
        lines.append(f"paper {paper:.1f}")
    return "\n".join(lines).rstrip()


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"


_BINS = 20
"""Steps of recall and of confidence from 0 to 1 at which the curves are given."""


def record(
    *, variants: list[str], seeds: list[int], metrics: Path, models: Path, folder: Path
) -> None:
    """Write the metrics and plots that DVC shows.

    Parameters
    ----------
    variants : list of str
        Detectors, as ``backbone/attention``.
    seeds : list of int
    metrics : Path
        Folder of ``{backbone}/{attention}.json``.
    models : Path
        Folder of ``{backbone}/{attention}/seed{seed}/history.csv``.
    folder : Path
        Written: ``{backbone}_{attention}.json`` with map, recall and accuracy in percent and their
        bounds; ``learning.csv``, ``precision_recall.csv`` (mean over the classes) and
        ``calibration.csv`` of the first seed.
    """
    entries = [read_entry(name, metrics, "metrics", "curves") for name in variants]
    for entry in entries:
        shown = entry.percents({name: name for name in HEADLINE})
        write_json(folder / f"{_column(entry.name)}.json", shown)
    histories = {
        name: schemas.read(schemas.HISTORY, models / name / f"seed{seeds[0]}" / "history.csv")
        for name in variants
    }
    learning = {
        f"{_column(name)}_{quantity}": history.set_index("epoch")[quantity]
        for name, history in histories.items()
        for quantity in ("loss", "validation_map")
    }
    write_csv(folder / "learning.csv", pd.DataFrame(learning).reset_index())
    for plot, points in (("precision_recall", _precision), ("calibration", _accuracy)):
        columns = {_column(entry.name): dict(points(entry.report)) for entry in entries}
        table = pd.DataFrame(columns).sort_index().rename_axis("x").reset_index()
        write_csv(folder / f"{plot}.csv", table)


def _column(variant: str) -> str:
    return variant.replace("/", "_")


def _precision(report: Json) -> Iterator[tuple[float, float]]:
    """Yield recall and the mean over the classes of the best precision at that recall or more."""
    given = [curve for name in CLASSES if (curve := report["curves"]["pr"][name])]
    curves = [(np.array(curve["recall"]), np.array(curve["precision"])) for curve in given]
    for step in range(_BINS + 1):
        at = step / _BINS
        best = [precision[recall >= at].max(initial=0.0) for recall, precision in curves]
        if best:
            yield at, round(sum(best) / len(best), 4)


def _accuracy(report: Json) -> Iterator[tuple[float, float]]:
    """Yield confidence, rounded to a bin, and how often it was right."""
    curve = report["curves"]["calibration"]["before"]
    for confidence, accuracy in zip(curve["confidence"], curve["accuracy"], strict=True):
        if confidence is not None:  # an empty bin has neither
            yield round(confidence * _BINS) / _BINS, round(accuracy, 4)


_BENCHMARKS = {
    "seconds": "s",
    "cpu_seconds": "cpu_time",
    "peak_memory_mb": "max_rss",
    "read_mb": "io_in",
    "written_mb": "io_out",
}


def collect_benchmarks(folder: Path, table: Path) -> None:
    """Write one row for each job that ran, named as its log below ``logs/`` is.

    Memory is the largest sum of the resident memory of the job's processes; processes that `srun`
    starts on several nodes are not seen. A job that ended within a second or two may have no
    figure but its time.

    Parameters
    ----------
    folder : Path
        Of the benchmark files. Nothing is written if there are none.
    table : Path
        Written: ``job``, ``seconds``, ``cpu_seconds``, ``peak_memory_mb``, ``read_mb`` and
        ``written_mb``, as CSV.
    """
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as stream:
            measured = next(csv.DictReader(stream, delimiter="\t"), {})
        job = path.relative_to(folder).with_suffix("").as_posix()
        figures = (measured.get(name, "") for name in _BENCHMARKS.values())
        rows.append([job, *("" if figure in ("-", "NA") else figure for figure in figures)])
    if rows:
        lines = [",".join(row) for row in [["job", *_BENCHMARKS], *rows]]
        write_text(table, "\n".join(lines) + "\n")


if __name__ == "__main__":
    run(tabulate, record)
