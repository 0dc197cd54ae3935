"""The same methods on other data: an external cohort, other splits, a split by image.

``python -m dsnet.tables.other_data tabulate-external``, ``tabulate-repeats`` and
``tabulate-leakage``. Repeated splits share patients, so that their figures depend on each other:
the standard deviation over them describes how much a split matters, and makes no interval.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from dsnet import schemas
from dsnet.errors import UserError
from dsnet.evaluate.intervals import difference_of_cohorts
from dsnet.evaluate.provenance import data_note
from dsnet.evaluate.subgroups import STATISTICS
from dsnet.files import read_json, write_csv
from dsnet.schemas import LEAKY
from dsnet.step import run
from dsnet.tables import BOUNDS, Entry, Json, method_of, percent, read_entry

PERCENT = (
    "map",
    "recall",
    "accuracy",
    "box_ap50",
    "localised_accuracy",
    "patient_accuracy",
    "patient_macro_auc",
    "patient_sensitivity_osteoporosis",
    "patient_specificity_osteoporosis",
    "patient_sensitivity_low_bone_mass",
    "patient_specificity_low_bone_mass",
)
"""Statistics in percent; their differences are in percent points."""

PLAIN = (
    "localised_brier",
    "localised_calibration_intercept",
    "localised_calibration_slope",
    "localised_ece_debiased",
)
"""Statistics as they are, and beside each the one after scaling with the internal temperature."""

_NAMES = (*PERCENT, *PLAIN, *(f"{name}_scaled" for name in PLAIN))

EXTERNAL = (
    "method",
    "cohort",
    "seeds",
    "test_patients",
    "test_images",
    *(f"{name}{kind}{b}" for name in _NAMES for kind in ("", "_difference") for b in BOUNDS),
    "scope",
    "temperature",
    "weights_sha256",
    "data",
)


def tabulate_external(
    *, variants: list[str], cohorts: list[str], metrics: Path, external: Path, table: Path
) -> None:
    """Write each method on the internal test subset and on each external cohort.

    Parameters
    ----------
    variants : list of str
        Detectors as ``backbone/attention``, and baselines as ``hu/...``.
    cohorts : list of str
        Names of the external cohorts.
    metrics : Path
        Folder of ``{variant}.json`` on the internal test subset.
    external : Path
        Folder of ``{cohort}/metrics/{variant}.json``.
    table : Path
        CSV to write: for each method a row ``internal`` and one for each external cohort, with the
        difference to the internal row and its interval.

    Raises
    ------
    UserError
        If a file is missing, or a detector had another operating point on an external cohort.
    """
    rows = []
    for name in variants:
        internal = read_entry(name, metrics)
        rows.append(_external_row(internal, "internal", None))
        for cohort in cohorts:
            other = read_entry(name, external / cohort / "metrics")
            _check_alike(internal, other, cohort)
            rows.append(_external_row(other, cohort, internal))
    write_csv(table, pd.DataFrame(rows, columns=list(EXTERNAL)))


def _check_alike(internal: Entry, other: Entry, cohort: str) -> None:
    if any(internal.report[name] != other.report[name] for name in ("thresholds", "seeds")):
        raise UserError(
            f"{cohort}/metrics of {other.name}",
            expected="the seeds and the operating point of the internal cohort",
            came="others",
            remedy="run the workflow, which evaluates all cohorts alike",
        )


def _external_row(entry: Entry, cohort: str, internal: Entry | None) -> Json:
    row: Json = {
        **entry.about,
        "cohort": cohort,
        "temperature": entry.report["calibration"]["temperature"],
        "weights_sha256": " ".join(entry.report.get("external", {}).get("weights_sha256", [])),
    }
    reference = dict(_statistics(internal)) if internal else {}
    for name, own in _statistics(entry):
        kinds = {"": own}
        if internal:
            kinds["_difference"] = difference_of_cohorts(own, reference[name])
        for kind, values in kinds.items():
            for suffix, bound in BOUNDS.items():
                value = values[bound]
                row[f"{name}{kind}{suffix}"] = percent(value) if name in PERCENT else value
    return row


def _statistics(entry: Entry) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Yield name, and value with bounds, of those statistics that the method has."""
    after = entry.report["calibration"]["after"]
    for name in (*PERCENT, *PLAIN):
        if name in entry.report["metrics"]:
            yield name, entry.report["metrics"][name]
    for name in PLAIN:
        yield f"{name}_scaled", after[name.removeprefix("localised_")]


REPEATS = (
    "method",
    "variation",
    "training_patients",
    "test_patients",
    *(f"{name}{bound}" for name in STATISTICS for bound in BOUNDS),
    "seeds",
    "data",
)


def tabulate_repeats(
    *,
    detector: str,
    variations: list[str],
    metrics: Path,
    split: Path,
    folder: Path,
    table: Path,
    summary: Literal["spread", "none"] = "none",
) -> None:
    """Write the figures of one detector, by variation.

    Parameters
    ----------
    detector : str
        ``backbone/attention``.
    variations : list of str
        As `dsnet.split.repeats.vary` names them.
    metrics, split : Path
        Folder of the metrics, and `schemas.SPLIT`, of the cohort as it is split: the first row.
    folder : Path
        Holds ``{variation}/metrics/{detector}.json`` and ``{variation}/split.csv``.
    table : Path
        CSV to write, in percent.
    summary : {"spread", "none"}
        spread: mean and standard deviation over all rows follow below.
    """
    own = [("none", metrics, split)]
    others = [(name, folder / name / "metrics", folder / name / "split.csv") for name in variations]
    rows = [_repeats_row(detector, *where) for where in own + others]
    made = pd.DataFrame(rows, columns=list(REPEATS))
    if summary == "spread":
        values = made[list(STATISTICS)].astype(float)
        below = {"mean": values.mean(), "standard deviation": values.std(ddof=1)}
        last = [
            {"method": detector, "variation": name, "data": made["data"][0], **figures.round(2)}
            for name, figures in below.items()
        ]
        made = pd.concat([made.astype(object), pd.DataFrame(last, dtype=object)])
    write_csv(table, made[list(REPEATS)])


def _repeats_row(detector: str, variation: str, metrics: Path, split: Path) -> Json:
    entry = read_entry(detector, metrics)
    images = schemas.read(schemas.SPLIT, split)
    training = images.loc[images["subset"] == "train", "patient_key"]
    return {
        **entry.about,
        "method": detector,
        "variation": variation,
        "training_patients": training.nunique(),
        **entry.percents({name: name for name in STATISTICS}),
    }


LEAKAGE_STATISTICS = (
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

LEAKAGE = (
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


def tabulate_leakage(*, metrics: Path, trials: Path, detector: str, table: Path) -> None:
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
        _leakage_row(one, name, honest[one.method])
        for one in results
        for name in LEAKAGE_STATISTICS
        if name in one.report["metrics"]
    ]
    write_csv(table, pd.DataFrame(rows, columns=list(LEAKAGE)))


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


def _leakage_row(one: Result, statistic: str, honest: Result) -> Json:
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
    run(tabulate_external, tabulate_repeats, tabulate_leakage)
