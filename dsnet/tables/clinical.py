"""What the figures are good for: ``python -m dsnet.tables.clinical``.

Two tables: net benefit of sending patients to DXA by each method, against all and none; and how
precise the figures are, with the test patients that more precise ones take.
"""

from pathlib import Path

import pandas as pd

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


if __name__ == "__main__":
    run(tabulate)
