"""What is recorded of a run: what DVC shows of Table 1, and what each job cost.

``python -m dsnet.tables.recorded``: one small JSON for each method, which are the rows of
``dvc metrics show``, and one CSV for each plot of ``dvc plots show`` with a column for each method.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from dsnet import schemas
from dsnet.files import write_csv, write_json, write_text
from dsnet.schemas import CLASSES
from dsnet.step import run
from dsnet.tables import Json, read_entry

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
        shown = entry.percents({name: name for name in ("map", "recall", "accuracy")})
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
    run(record)
