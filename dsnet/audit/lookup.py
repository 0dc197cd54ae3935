"""Rows of the ledger by patient, criterion or file, and of the flow by step."""

import difflib
from pathlib import Path
from typing import Any

import pandas as pd

from dsnet.errors import UserError
from dsnet.results import Json, Results


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
    found = {**blank, "code": "", "step": "files found", "enabled": True, **flow["found"]}
    included = {
        **blank,
        "code": "",
        "step": "included",
        "enabled": True,
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
