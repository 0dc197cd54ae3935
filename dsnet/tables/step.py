"""One table of detectors and its summary with intervals, from the files of every training."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dsnet.contract import CLASSES
from dsnet.files import write_csv, write_json
from dsnet.tables.entry import Entry, Json, judged_on, read_entries, read_json
from dsnet.tables.paper import reported

METHOD = "Faster R-CNN"

COLUMNS = (
    "method",
    "backbone",
    "attention",
    "seeds",
    "test_patients",
    "test_images",
    "map",
    "recall",
    "accuracy",
    "fps",
    "ms_per_image",
    "parameters_m",
    "paper_map",
    "paper_recall",
    "paper_accuracy",
    "data",
)

SUMMARY = (
    "map",
    "map_50_95",
    "voc_map",
    "paper_map",
    "recall",
    "accuracy",
    "accuracy_literal",
    "accuracy_localised",
    "box_ap50",
    "box_recall",
    *(f"ap_{name}" for name in CLASSES),
)
"""Statistics that the summary carries with their bounds; the rest stays in the metrics files."""


def tabulate(
    *,
    variants: str,
    seeds: str,
    metrics: Path,
    models: Path,
    speed: Path,
    table: Path,
    summary: Path,
) -> None:
    """Write a table of detectors, and its summary with intervals.

    Parameters
    ----------
    variants : str
        Rows of the table in order, with commas between: ``resnet50/none,resnet50/se``.
    seeds : str
        Seeds that each variant was trained with, with commas between: ``0,1,2``.
    metrics : Path
        Folder of ``{backbone}/{attention}/seed{seed}.json``.
    models : Path
        Folder of ``{backbone}/{attention}/seed{seed}/manifest.json``.
    speed : Path
        JSON with the speed of all variants, timed in one run.
    table : Path
        CSV to write; means over the seeds; percent where the paper uses percent.
    summary : Path
        JSON to write; fractions with their bounds, by backbone and attention.
    """
    numbers = [int(seed) for seed in seeds.split(",")]
    timing = read_json(speed)
    entries = read_entries(variants.split(","), numbers, timing, metrics=metrics, models=models)
    write_json(summary, summarise(entries, timing))
    write_csv(table, tabulated(entries))


def tabulated(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return the table: a row for each entry in the order given, the columns `COLUMNS`."""
    return pd.DataFrame([_row(entry) for entry in entries], columns=list(COLUMNS))


def summarise(entries: Sequence[Entry], timing: Json) -> Json:
    """Return what stands beside the table: statistics as fractions with 95 % bounds.

    Parameters
    ----------
    entries : sequence of Entry
    timing : dict
        What `dsnet.evaluate.speed` wrote; device and input size are taken over.
    """
    shared = judged_on(entries[0].reports[0])
    summary: Json = {
        "data": data_note(shared["cohort"], synthetic=shared["synthetic"]),
        "part": shared["part"],
        "test_patients": shared["counts"]["patients"],
        "test_images": shared["counts"]["images"],
        "test_boxes": shared["counts"]["boxes"],
        "iou": shared["thresholds"]["iou"],
        "score": shared["thresholds"]["score"],
        "speed": {name: value for name, value in timing.items() if name != "variants"},
    }
    for entry in entries:
        summary.setdefault(entry.backbone, {})[entry.attention] = _summary(entry)
    return summary


def data_note(cohort: str, *, synthetic: bool) -> str:
    """Return the words that tell a reader what the numbers were made from."""
    return f"{cohort} (synthetic, not patients)" if synthetic else cohort


def _row(entry: Entry) -> Json:
    shared = judged_on(entry.reports[0])
    paper = reported(entry.backbone, entry.attention)
    return {
        "method": METHOD,
        "backbone": entry.backbone,
        "attention": entry.attention,
        "seeds": len(entry.seeds),
        "test_patients": shared["counts"]["patients"],
        "test_images": shared["counts"]["images"],
        **{name: _percent(entry.mean(name)) for name in ("map", "recall", "accuracy")},
        "fps": round(entry.speed["fps"], 4),
        "ms_per_image": round(entry.speed["ms_per_image"], 2),
        "parameters_m": round(entry.parameters / 1e6, 3),
        "paper_map": paper and paper.map,
        "paper_recall": paper and paper.recall,
        "paper_accuracy": paper and paper.accuracy,
        "data": data_note(shared["cohort"], synthetic=shared["synthetic"]),
    }


def _summary(entry: Entry) -> Json:
    chance = [report["chance"] for report in entry.reports]
    statistics = {
        f"{name}{suffix}": entry.mean(name, bound)
        for name in SUMMARY
        for suffix, bound in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    return {
        **statistics,
        # The hardest of the seeds: each must pass.
        "chance_map_975": max(each["p975"] for each in chance),
        "above_chance": all(each["above_chance"] for each in chance),
        **{name: entry.speed[name] for name in ("fps", "ms_per_image", "fps_to_none")},
        "parameters": entry.parameters,
        "seeds": list(entry.seeds),
    }


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 2)
