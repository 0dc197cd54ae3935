"""Internal and external cohorts side by side: ``python -m dsnet.tables.external``."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from dsnet.errors import UserError
from dsnet.evaluate.intervals import difference_of_cohorts
from dsnet.files import write_csv
from dsnet.step import run
from dsnet.tables import BOUNDS, Entry, Json, percent, read_entry

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

COLUMNS = (
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


def side_by_side(
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
        rows.append(_row(internal, "internal", None))
        for cohort in cohorts:
            other = read_entry(name, external / cohort / "metrics")
            _check_alike(internal, other, cohort)
            rows.append(_row(other, cohort, internal))
    write_csv(table, pd.DataFrame(rows, columns=list(COLUMNS)))


def _check_alike(internal: Entry, other: Entry, cohort: str) -> None:
    if any(internal.report[name] != other.report[name] for name in ("thresholds", "seeds")):
        raise UserError(
            f"{cohort}/metrics of {other.name}",
            expected="the seeds and the operating point of the internal cohort",
            came="others",
            remedy="run the workflow, which evaluates all cohorts alike",
        )


def _row(entry: Entry, cohort: str, internal: Entry | None) -> Json:
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


if __name__ == "__main__":
    run(side_by_side)
