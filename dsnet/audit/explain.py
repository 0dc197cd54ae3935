"""Why files and patients are in or out, and what would have to change: rows of the ledger."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dsnet.config.cohort import Criteria
from dsnet.errors import UserError
from dsnet.exclude.criteria import CRITERIA
from dsnet.exclude.criterion import REVIEW
from dsnet.results import Json, Results
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
    exams: list[dict[Any, Any]]
    person: dict[str, Any]
    subset: str
    stratum: str
    outcomes: list[dict[Any, Any]]
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
        exams=exams.drop(columns="patient_key").to_dict("records"),
        person={str(name): None if pd.isna(value) else value for name, value in traits.items()},
        subset=subset,
        stratum=stratum,
        outcomes=outcomes.to_dict("records"),
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


def title_of_cohort(cohort: Json) -> str:
    """Return the name of a cohort, marked where its data are made up.

    Parameters
    ----------
    cohort : dict
        ``name`` and ``synthetic``, as ``flow.json`` has it.

    Examples
    --------
    >>> title_of_cohort({"name": "phantom", "synthetic": True})
    'phantom - SYNTHETIC, not patients'
    """
    return f"{cohort['name']}{' - SYNTHETIC, not patients' if cohort['synthetic'] else ''}"


def count_of(number: int, noun: str, plural: str = "") -> str:
    """Return a number and its noun.

    Examples
    --------
    >>> count_of(1, "file"), count_of(1200, "file"), count_of(2, "criterion", "criteria")
    ('1 file', '1,200 files', '2 criteria')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def _nearest(rows: pd.DataFrame, steps: dict[str, Any]) -> dict[str, Any]:
    """Return the file that fails the fewest criteria, the first of several."""
    listed = [failing(text) for text in rows["all_criteria"]]
    index = min(range(len(listed)), key=lambda row: len(listed[row]))
    facts = ("code", "slug", "threshold")
    criteria = [
        {**{name: steps[slug][name] for name in facts}, "remedy": remedy(slug)}
        for slug in listed[index]
    ]
    return {"file_key": rows["file_key"].iloc[index], "criteria": criteria}


def _split(results: Results, patient_key: str) -> tuple[str, str]:
    """Return subset and class; several subsets of a split by image, "" before there is a split."""
    if not (results.cohort / "split.csv").exists():
        return "", ""
    own = results.split[results.split["patient_key"] == patient_key]
    return " and ".join(sorted(set(own["subset"]))), str(own["stratum"].iloc[0])


def patient_rows(results: Results, patient: str, private: Path) -> pd.DataFrame:
    """Return the ledger's rows of one patient.

    Parameters
    ----------
    results : Results
    patient : str
        A pseudonym or, with the private map at hand, the hospital's ID.
    private : Path
        The folder of the config key ``private``; opened for a hospital's ID only.

    Returns
    -------
    DataFrame
        Rows of `dsnet.schemas.LEDGER`.

    Raises
    ------
    UserError
        If there is no such patient, or the private map is not at hand.
    """
    ledger, wanted = results.ledger, patient.strip()
    rows = ledger[(ledger["patient_key"] == wanted) & (wanted != "")]
    if rows.empty:
        identities = results.private(private).read_map()
        own = identities["file_key"][(identities["patient_id"] == wanted) & (wanted != "")]
        keys = set(ledger.loc[ledger["file_key"].isin(own), "patient_key"]) - {""}
        rows = ledger[ledger["patient_key"].isin(keys)]
    if rows.empty:
        raise UserError(
            "--patient",
            expected="a pseudonym from ledger.csv or a patient ID from the CT headers",
            came=f"text of {len(patient)} characters that is neither",
            remedy="look it up in exclusions.csv; leading zeros matter",
            private=patient,
        )
    return rows


def criterion_rows(results: Results, criterion: str) -> pd.DataFrame:
    """Return the ledger's rows that fail a criterion, first or not, or are flagged by it.

    Parameters
    ----------
    results : Results
    criterion : str
        A slug or a code.

    Raises
    ------
    UserError
        If there is no such criterion.
    """
    slug = _slug(results.flow, criterion)
    listed = results.ledger["all_criteria"].str.replace("?", "", regex=False).str.split(";")
    return results.ledger[[slug in slugs for slugs in listed]]


def file_rows(results: Results, file_key: str) -> pd.DataFrame:
    """Return the ledger's row of one file, as errors name it.

    Raises
    ------
    UserError
        If there is no such file.
    """
    rows = results.ledger[results.ledger["file_key"] == file_key.strip()]
    if rows.empty:
        raise UserError(
            "--file",
            expected="a file_key from ledger.csv",
            came=f"text of {len(file_key)} characters that is none",
            remedy="copy it from the error or the table that named it",
            private=file_key,
        )
    return rows


def with_paths(rows: pd.DataFrame, results: Results, private: Path) -> pd.DataFrame:
    """Return rows with their private ``path`` below ``dicom/``: for a private terminal only."""
    identities = results.private(private).read_map()
    paths = identities.set_index("file_key")["relative_path"]
    return rows.assign(path=rows["file_key"].map(paths).fillna(""))


def flow_rows(flow: Json) -> list[dict[str, Any]]:
    """Return the flow with one row per step, the files found first and those included last.

    Parameters
    ----------
    flow : dict
        As `dsnet.exclude.step.flow_counts` returns it.

    Returns
    -------
    list of dict
        ``code``, ``step``, ``enabled``; ``files_removed``, ``images_removed``,
        ``patients_removed`` (None on first and last row); ``files``, ``images``, ``patients`` that
        remain; ``flagged`` and ``not_evaluated`` (files); ``patients_excluded``.
    """
    steps = [
        {
            "code": step["code"],
            "step": step["slug"],
            "enabled": step["enabled"],
            **{f"{unit}_removed": number for unit, number in step["removed"].items()},
            **step["remain"],
            "flagged": step["flagged"]["files"],
            "not_evaluated": step["not_evaluated"]["files"],
            "patients_excluded": step["patients_excluded"],
        }
        for step in flow["steps"]
    ]
    blank = dict.fromkeys(steps[0])
    ends = {**blank, "code": "", "enabled": True}
    found = {**ends, "step": "files found", **flow["found"]}
    included = {
        **ends,
        "step": "included",
        **flow["included"],
        "flagged": flow["included_flagged"]["files"],
        "not_evaluated": flow["included_not_evaluated"]["files"],
    }
    return [found, *steps, included]


def _slug(flow: Json, criterion: str) -> str:
    """Return the slug of a criterion of the run: ``flow.json`` lists every one."""
    by_code = {step["code"]: step["slug"] for step in flow["steps"]}
    slug: str = by_code.get(criterion.upper(), criterion)
    if slug not in by_code.values():
        close = difflib.get_close_matches(slug, list(by_code.values()), n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UserError(
            "--criterion",
            expected="a slug or code that dsnet criteria prints",
            came="another word",
            remedy=f"{hint}choose one of {', '.join(by_code.values())}",
        )
    return slug
