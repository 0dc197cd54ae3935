"""What the figures are good for: net benefit, precision, and agreement with DXA.

``python -m dsnet.tables.clinical tabulate``, two tables: net benefit of sending patients to DXA by
each method, against all and none; and how precise the figures are, with the test patients that more
precise ones take.

``python -m dsnet.tables.clinical agree``: how well a T-score computed from HU agrees with DXA. A
line through the training and validation patients, from the HU of the cores of their vertebral
bodies to the T-score that labels them, gives each test patient a T-score. Patients are the unit.
J. M. Bland and D. G. Altman, Stat. Methods Med. Res. 8, 135-160, 1999, for the limits of agreement
and their intervals; Fisher's z for that of r.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from dsnet import schemas
from dsnet.evaluate.intervals import COVERAGE
from dsnet.evaluate.provenance import data_note, read_provenance
from dsnet.evaluate.scene import Floats
from dsnet.files import write_csv
from dsnet.step import run
from dsnet.tables import BOUNDS, Entry, Json, percent, read_entry

SHOWN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Thresholds of the table; metrics files have more."""

DECISION = (
    "method",
    "threshold",
    *(f"net_benefit{bound}" for bound in BOUNDS),
    "net_benefit_all",
    "net_benefit_none",
    *(f"gain{bound}" for bound in BOUNDS),
    "prevalence",
    "test_patients",
    "data",
)

SAMPLE_SIZE = (
    "method",
    "figure",
    "target",
    "value",
    "low",
    "high",
    "half_width",
    "patients",
    "needed",
    "test_patients_needed",
    "test_patients",
    "data",
)


def tabulate(*, variants: list[str], metrics: Path, decision: Path, sample_size: Path) -> None:
    """Write both tables.

    Parameters
    ----------
    variants : list of str
        Detectors as ``backbone/attention``, and baselines as ``hu/...``.
    metrics : Path
        Folder of ``{variant}.json``.
    decision : Path
        CSV to write: net benefit per 100 patients; threshold and prevalence in percent.
    sample_size : Path
        CSV to write: values and half widths in percent.
    """
    entries = [read_entry(name, metrics) for name in variants]
    decisions = [row for entry in entries for row in _decisions(entry)]
    sizes = [row for entry in entries for row in _sizes(entry)]
    write_csv(decision, pd.DataFrame(decisions, columns=list(DECISION)))
    write_csv(sample_size, pd.DataFrame(sizes, columns=list(SAMPLE_SIZE)))


def _decisions(entry: Entry) -> list[Json]:
    curve = entry.report["decision"]
    rows = []
    for threshold in SHOWN:
        at = curve["threshold"].index(threshold)
        rows.append(
            {
                **entry.about,
                "threshold": percent(threshold),
                **{f"net_benefit{b}": percent(curve[key][at]) for b, key in BOUNDS.items()},
                "net_benefit_all": percent(curve["all"][at]),
                "net_benefit_none": 0.0,
                **{f"gain{b}": percent(curve[f"gain{b}"][at]) for b in BOUNDS},
                "prevalence": percent(curve["prevalence"]),
            }
        )
    return rows


def _sizes(entry: Entry) -> list[Json]:
    size = entry.report["sample_size"]
    precise = [
        {
            **entry.about,
            "figure": name,
            "target": "half width of 5 points",
            **{bound: percent(entry.value(name, bound)) for bound in BOUNDS.values()},
            "half_width": percent(facts["half_width"]),
            "patients": facts["patients"],
            "needed": facts["needed"],
            "test_patients_needed": facts["test_patients"],
        }
        for name, facts in size["precision"].items()
    ]
    criteria = [
        {
            **entry.about,
            "figure": name,
            "target": f"Riley: {facts['target']}",
            "patients": entry.report["counts"]["patients"],
            "needed": facts["needed"],
            "test_patients_needed": facts["needed"],
        }
        for name, facts in size["riley"].items()
    ]
    return precise + criteria


AGREEMENT_FIGURES = ("r", "bias", "lower_limit", "upper_limit")
AGREEMENT = (
    "cohort",
    "test_patients",
    *(f"{name}{bound}" for name in AGREEMENT_FIGURES for bound in ("", "_low", "_high")),
    "intercept",
    "slope_per_hu",
    "fitted_patients",
    "data",
)

_FEWEST = 4
"""Patients; with fewer Fisher's z has no interval."""
_TAIL = (1 - COVERAGE) / 2
_NORMAL = float(stats.norm.ppf(1 - _TAIL))


def agree(
    *, results: Path, features: Path, labels: Path, cohorts: list[str] | None = None, table: Path
) -> None:
    """Write how the T-score from HU agrees with that of DXA, on test patients.

    Parameters
    ----------
    results : Path
        Holds ``external/{cohort}`` and ``cohort/``.
    features, labels : Path
        `schemas.FEATURES` of annotated boxes, and `schemas.LABELS`.
    cohorts : list of str, optional
        External cohorts, to whose patients the same line is applied.
    table : Path
        CSV to write: a row ``internal`` and one for each external cohort. Differences are T-score
        from HU less that of DXA. Blank where there are too few patients.
    """
    own = patient_scores(schemas.read(schemas.FEATURES, features), labels)
    fitted = own[own["subset"] != "test"]
    slope, intercept = np.polyfit(fitted["core_mean_hu"], fitted["t_score"], 1)
    line = {
        "intercept": round(float(intercept), 4),
        "slope_per_hu": round(float(slope), 6),
        "fitted_patients": len(fitted),
    }
    rows = []
    for name in ("internal", *(cohorts or ())):
        folder, tested = results, own[own["subset"] == "test"]
        if name != "internal":
            folder = results / "external" / name
            measured = schemas.read(schemas.FEATURES, folder / "baseline" / "features.csv")
            tested = patient_scores(measured, folder / "cohort" / "labels.csv")
        predicted = intercept + slope * tested["core_mean_hu"].to_numpy()
        made = agreement(predicted, tested["t_score"].to_numpy())
        source = read_provenance(folder / "cohort" / "slices.json", folder / "cohort" / "split.csv")
        rows.append({"cohort": name, **made, **line, "data": data_note(source)})
    write_csv(table, pd.DataFrame(rows, columns=list(AGREEMENT)))


def patient_scores(features: pd.DataFrame, labels: Path) -> pd.DataFrame:
    """Return ``subset``, ``core_mean_hu`` and ``t_score`` of each patient with a measured body.

    The HU are the median over the levels of the mean over a level's slices: one body with cement or
    a fracture, of which no criterion knows, does not decide.
    """
    measured = features.dropna(subset=["core_mean_hu"])
    by_level = measured.groupby(["patient_key", "level", "subset"])["core_mean_hu"].mean()
    by_patient = by_level.groupby(["patient_key", "subset"]).median().reset_index("subset")
    scores = schemas.read(schemas.LABELS, labels)[["patient_key", "level", "t_score"]]
    scores = scores.drop_duplicates().astype({"t_score": float})
    return by_patient.assign(t_score=scores.groupby("patient_key")["t_score"].mean())


def agreement(predicted: Floats, measured: Floats) -> dict[str, Any]:
    """Return Pearson's r, the bias and the limits of agreement, each with its 95 % interval.

    Parameters
    ----------
    predicted, measured : float64 (patients,)

    Returns
    -------
    dict
        ``test_patients`` and, of each of `AGREEMENT_FIGURES`, the value and its bounds; fewer than
        four patients, or equal ones, have none.

    Examples
    --------
    >>> made = agreement(np.array([0.0, 1, 2, 3, 4]), np.array([0.5, 1, 1.5, 3, 4]))
    >>> made["r"], made["bias"], made["upper_limit"]
    (0.9762, 0.0, 0.693)
    """
    count = len(predicted)
    made: dict[str, Any] = {"test_patients": count}
    if count < _FEWEST or np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return made
    r = float(np.corrcoef(predicted, measured)[0, 1])
    difference = predicted - measured
    bias, deviation = float(difference.mean()), float(difference.std(ddof=1))
    quantile = float(stats.t.ppf(1 - _TAIL, count - 1))
    of_bias = quantile * deviation / np.sqrt(count)
    of_limit = quantile * deviation * np.sqrt(1 / count + _NORMAL**2 / (2 * (count - 1)))
    reach = _NORMAL / np.sqrt(count - 3)
    z = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
    lower, upper = bias - _NORMAL * deviation, bias + _NORMAL * deviation
    figures = {
        "r": (r, np.tanh(z - reach), np.tanh(z + reach)),
        "bias": (bias, bias - of_bias, bias + of_bias),
        "lower_limit": (lower, lower - of_limit, lower + of_limit),
        "upper_limit": (upper, upper - of_limit, upper + of_limit),
    }
    for name, values in figures.items():
        for bound, value in zip(("", "_low", "_high"), values, strict=True):
            made[f"{name}{bound}"] = round(float(value), 4) + 0.0
    return made


if __name__ == "__main__":
    run(tabulate, agree)
