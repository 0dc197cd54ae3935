"""The table of leakage: ``python -m dsnet.tables.leakage``.

A split by image against one by patient, and shuffled labels against true ones.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dsnet.evaluate.provenance import data_note
from dsnet.files import read_json, write_csv
from dsnet.schemas import LEAKY
from dsnet.step import run
from dsnet.tables import Json, method_of, percent

STATISTICS = (
    "map",
    "recall",
    "accuracy",
    "localised_accuracy",
    "localised_macro_auc",
    "patient_accuracy",
    "patient_macro_auc",
)
"""Keys of the metrics files; the HU models, which localise nothing, have only the last four."""

HU = ("hu/multinomial", "hu/nearest")

COLUMNS = (
    "method",
    "split",
    "labels",
    "statistic",
    "value",
    "low",
    "high",
    "interval",
    "chance",
    "verdict",
    "test_patients",
    "test_images",
    "data",
)


@dataclass(frozen=True)
class Result:
    """One method under one split and one kind of labels.

    Attributes
    ----------
    method : str
    leaky : bool
        Whether the split is by image.
    shuffled : bool
        Whether labels were shuffled.
    report : dict
        Its metrics file.
    """

    method: str
    leaky: bool
    shuffled: bool
    report: Json


def tabulate(*, metrics: Path, trials: Path, detector: str, table: Path) -> None:
    """Write the table of leakage.

    Parameters
    ----------
    metrics : Path
        Folder of the honest metrics: ``hu/multinomial.json`` and so on.
    trials : Path
        Folder of the trials: ``LEAKY/true/metrics/hu/multinomial.json`` and so on.
    detector : str
        ``backbone/attention`` of the detector among the methods.
    table : Path
        CSV to write; percent; one row for each method, split, kind of labels and statistic.
    """
    results = [
        _result(method, metrics, trials, leaky, shuffled)
        for method in (*HU, detector)
        for leaky in (False, True)
        for shuffled in (False, True)
        # Memory is measured with the HU models: one more training would show the same.
        if not (leaky and shuffled and method == detector)
    ]
    honest = {one.method: one for one in results if not (one.leaky or one.shuffled)}
    rows = [
        _row(one, name, honest[one.method])
        for one in results
        for name in STATISTICS
        if name in one.report["metrics"]
    ]
    write_csv(table, pd.DataFrame(rows, columns=list(COLUMNS)))


def _result(method: str, metrics: Path, trials: Path, leaky: bool, shuffled: bool) -> Result:
    split, labels = LEAKY if leaky else "patient", "shuffled" if shuffled else "true"
    folder = trials / split / labels / "metrics" if leaky or shuffled else metrics
    report = read_json(folder / f"{method}.json")
    return Result(method_of(method), leaky=leaky, shuffled=shuffled, report=report)


def chance(report: Json, statistic: str) -> float:
    """Return what a statistic may reach without any knowledge of the classes.

    An area of 0.5; the upper bound of the permuted `map`; else the share of the commonest class,
    which a guess that is always the same gets right.
    """
    if statistic == "map":
        return float(report["chance"]["p975"])
    if statistic.endswith("macro_auc"):
        return 0.5
    unit = "patients_by_class" if statistic.startswith("patient_") else "boxes_by_class"
    counts = report["counts"][unit].values()
    return float(max(counts) / sum(counts))


def verdict(one: Result, statistic: str, honest: Result) -> str:
    """Return in words what a row means."""
    mark = f"{LEAKY}: " if one.leaky else ""
    value, before = (each.report["metrics"][statistic]["value"] for each in (one, honest))
    if value is None:
        return f"{mark}undefined"
    if one.shuffled:
        return mark + _control(one, statistic)
    if not one.leaky:
        return "what new patients would give"
    if before is None:
        return f"{mark}undefined"
    return f"{mark}{100 * (value - before):+.1f} points against the split by patient"


def _control(one: Result, statistic: str) -> str:
    """Return what a figure means that was reached with shuffled labels.

    Above chance means that 97.5 % of the shuffles are. One shuffle decides nothing:
    its labels may agree with the true ones by accident, which no interval over patients shows.
    """
    values = one.report["metrics"][statistic]
    if values["method"] != "shuffles":
        return "one shuffle, no verdict"
    if values["low"] is None:
        return "undefined"
    return _CONTROL[one.leaky, values["low"] > chance(one.report, statistic)]


_CONTROL = {
    (False, False): "not above chance, as it must be",
    (False, True): "above chance: look for a leak",
    (True, False): "not above chance",
    (True, True): "above chance, so patients are recognised",
}
"""By whether the split is leaky, and whether the figure is above chance."""


def _row(one: Result, statistic: str, honest: Result) -> Json:
    values, counts = one.report["metrics"][statistic], one.report["counts"]
    return {
        "method": one.method,
        "split": f"image {LEAKY}" if one.leaky else "patient",
        "labels": "shuffled" if one.shuffled else "true",
        "statistic": statistic,
        **{bound: percent(values[bound]) for bound in ("value", "low", "high")},
        "interval": one.report["interval"]["methods"][values["method"]],
        "chance": percent(chance(one.report, statistic)),
        "verdict": verdict(one, statistic, honest),
        "test_patients": counts["patients"],
        "test_images": counts["images"],
        "data": data_note(one.report),
    }


if __name__ == "__main__":
    run(tabulate)
