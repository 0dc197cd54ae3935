"""Why a patient is in or out, and what would have to change."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from dsnet.config.cohort import Criteria
from dsnet.exclude.criteria import CRITERIA
from dsnet.exclude.criterion import REVIEW
from dsnet.results import Results
from dsnet.schemas import HISTORIES

_REMEDIES = {
    REVIEW.slug: "delete the reader's row of review.csv, or change its decision to keep",
    **{rule.slug: rule.remedy for rule in CRITERIA},
}
_FINAL = {rule.slug: rule.final for rule in CRITERIA}


@dataclass(frozen=True)
class Explanation:
    """One patient's outcome.

    Attributes
    ----------
    patient_key, status, criterion, reason : str
        As in ``exclusions.csv``.
    code, threshold : str
        Of the criterion; "" where the patient is included.
    n_files, n_included : int
    evidence : dict of str to int
        What files that this criterion excludes show, and how many of them.
    exams : list of dict
        ``study_key``, ``interval_days``, ``dxa_row``, ``status`` and the T-scores of every DXA exam
        (see `dsnet.schemas.EXAMS`).
    person : dict
        ``sex``, ``age`` and histories; "" or None where unknown.
    subset, stratum : str
        Of the split; "" where the patient has none.
    outcomes : list of dict
        ``files``, ``status``, ``criterion``, ``evidence`` and the first ``file_key`` of those
        alike.
    nearest : dict or None
        Of an excluded patient, the file that fails the fewest criteria: ``file_key``, and
        ``criteria``, each with its `remedy`.
    """

    patient_key: str
    status: str
    criterion: str
    reason: str
    code: str
    threshold: str
    n_files: int
    n_included: int
    evidence: dict[str, int]
    exams: list[dict[str, Any]]
    person: dict[str, Any]
    subset: str
    stratum: str
    outcomes: list[dict[str, Any]]
    nearest: dict[str, Any] | None


def remedy(slug: str) -> str:
    """Return what would have to change for a criterion to let a file pass.

    Examples
    --------
    >>> remedy("dxa_too_far")  # doctest: +NORMALIZE_WHITESPACE
    'bring a DXA exam nearer to the CT; or change exclude.criteria.dxa_too_far.max_interval_days;
    or keep it in review.csv'
    """
    ways = [_REMEDIES[slug]]
    if slug in Criteria.model_fields:
        limits = [
            name for name in type(getattr(Criteria(), slug)).model_fields if name != "enabled"
        ]
        ways += [f"or change exclude.criteria.{slug}.{name}" for name in limits]
    if not _FINAL.get(slug, True):
        ways.append("or keep it in review.csv")
    return "; ".join(ways)


def explain(results: Results, patient_key: str) -> Explanation:
    """Return why a patient is in or out.

    Parameters
    ----------
    results : Results
    patient_key : str
        Of the ledger.
    """
    rows = results.ledger[results.ledger["patient_key"] == patient_key]
    exclusions = results.exclusions
    own = exclusions[exclusions["patient_key"] == patient_key].iloc[0]
    steps = {step["slug"]: step for step in results.flow["steps"]}
    step = steps.get(own["criterion"], {"code": "", "threshold": ""})
    evident = rows[(rows["criterion"] == own["criterion"]) & (rows["evidence"] != "")]
    alike = rows.groupby(["status", "criterion", "evidence"], sort=False)["file_key"]
    outcomes = alike.agg(files="size", file_key="first").reset_index()
    exams = results.exams[results.exams["patient_key"] == patient_key]
    people = results.patients.set_index("patient_key").astype(object)
    traits = people.loc[patient_key, ["sex", "age", *HISTORIES]]
    subset, stratum = _split(results, patient_key) if own["n_included"] else ("", "")
    return Explanation(
        **{name: str(own[name]) for name in ("patient_key", "status", "criterion", "reason")},
        code=step["code"],
        threshold=step["threshold"],
        n_files=int(own["n_files"]),
        n_included=int(own["n_included"]),
        evidence=evident["evidence"].value_counts(sort=False).to_dict() if own["criterion"] else {},
        exams=_records(exams.drop(columns="patient_key")),
        person={str(name): None if pd.isna(value) else value for name, value in traits.items()},
        subset=subset,
        stratum=stratum,
        outcomes=_records(outcomes),
        nearest=None if own["n_included"] else _nearest(rows, steps),
    )


def failing(all_criteria: str) -> list[str]:
    """Return the criteria that a file fails, without those that only flag it for review.

    Examples
    --------
    >>> failing("contrast_enhanced;cement?;not_lumbar")
    ['contrast_enhanced', 'not_lumbar']
    """
    return [slug for slug in all_criteria.split(";") if slug and not slug.endswith("?")]


def count_of(number: int, noun: str, plural: str = "") -> str:
    """Return a number and its noun.

    Examples
    --------
    >>> count_of(1, "file"), count_of(1200, "file"), count_of(2, "criterion", "criteria")
    ('1 file', '1,200 files', '2 criteria')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): cell for name, cell in row.items()} for row in frame.to_dict("records")]


def _nearest(rows: pd.DataFrame, steps: dict[str, Any]) -> dict[str, Any]:
    """Return the file that fails the fewest criteria, the first of several."""
    listed = [failing(text) for text in rows["all_criteria"]]
    index = min(range(len(listed)), key=lambda row: len(listed[row]))
    criteria = [
        {
            **{name: steps[slug][name] for name in ("code", "slug", "threshold")},
            "remedy": remedy(slug),
        }
        for slug in listed[index]
    ]
    return {"file_key": rows["file_key"].iloc[index], "criteria": criteria}


def _split(results: Results, patient_key: str) -> tuple[str, str]:
    """Return subset and class; several subsets of a split by image, "" before there is a split."""
    if not (results.cohort / "split.csv").exists():
        return "", ""
    own = results.split[results.split["patient_key"] == patient_key]
    return " and ".join(sorted(set(own["subset"]))), str(own["stratum"].iloc[0])
