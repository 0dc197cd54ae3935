"""Rows of the ledger by patient, by criterion or by file."""

import difflib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dsnet import contract
from dsnet.cohort.folder import CohortFolder
from dsnet.errors import UserError
from dsnet.exclude.registry import CRITERIA, REVIEW, REVIEW_CODE
from dsnet.pseudonym import open_vault


@dataclass(frozen=True)
class Private:
    """The way back from pseudonyms.

    Attributes
    ----------
    folder, cohort : Path
        The config keys ``private`` and ``cohort``; there need be nothing in either until asked.
    show : bool
        Whether rows may carry their paths: on a private terminal only.
    """

    folder: Path
    cohort: Path
    show: bool = False

    def identities(self) -> pd.DataFrame:
        """Return `dsnet.contract.MAP`.

        Raises
        ------
        UserError
            If the key or the map is not at hand.
        """
        vault = open_vault(self.folder, CohortFolder(self.cohort))
        return contract.read(contract.MAP, vault.map_path)


def ledger_rows(results: Path) -> pd.DataFrame:
    """Return `dsnet.contract.LEDGER` from the results folder."""
    return contract.read(contract.LEDGER, results / "cohort" / "ledger.csv")


def patients(results: Path) -> pd.DataFrame:
    """Return `dsnet.contract.EXCLUSIONS` from the results folder."""
    return contract.read(contract.EXCLUSIONS, results / "cohort" / "exclusions.csv")


def patient_rows(results: Path, patient: str, private: Private) -> pd.DataFrame:
    """Return the ledger's rows of one patient.

    Parameters
    ----------
    results : Path
    patient : str
        A pseudonym or, with the private map at hand, the hospital's ID.
    private : Private
        Needed for a hospital's ID only.

    Raises
    ------
    UserError
        If there is no such patient, or no map that could tell.
    """
    ledger = ledger_rows(results)
    rows = ledger[(ledger["patient_key"] == patient) & (patient != "")]
    if rows.empty:
        identities = private.identities()
        keys = identities.loc[identities["patient_id"] == patient.strip(), "patient_key"]
        rows = ledger[ledger["patient_key"].isin(set(keys) - {""})]
    if rows.empty:
        raise UserError(
            "--patient",
            expected="a pseudonym from ledger.csv or a patient ID from the CT headers",
            came=f"text of {len(patient)} characters that is neither",
            remedy="look it up in exclusions.csv; leading zeros matter",
            private=patient,
        )
    return rows


def criterion_rows(results: Path, criterion: str) -> pd.DataFrame:
    """Return the ledger's rows on which a criterion was found, first or not, or asks for review.

    Parameters
    ----------
    results : Path
    criterion : str
        A slug or a code.

    Raises
    ------
    UserError
        If there is no such criterion.
    """
    slug = _slug(criterion)
    ledger = ledger_rows(results)
    listed = ";" + ledger["all_criteria"].str.replace("?", "", regex=False) + ";"
    return ledger[listed.str.contains(f";{slug};", regex=False)]


def file_rows(results: Path, file_key: str) -> pd.DataFrame:
    """Return the ledger's row of one file, as errors name it.

    Raises
    ------
    UserError
        If there is no such file.
    """
    ledger = ledger_rows(results)
    rows = ledger[ledger["file_key"] == file_key.strip()]
    if rows.empty:
        raise UserError(
            "--file",
            expected="a file_key from ledger.csv",
            came=f"text of {len(file_key)} characters that is none",
            remedy="copy it from the error or the table that named it",
            private=file_key,
        )
    return rows


def with_paths(rows: pd.DataFrame, private: Private) -> pd.DataFrame:
    """Return rows with their private ``path`` below ``dicom/``: for a private terminal only."""
    identities = private.identities()
    paths = dict(zip(identities["file_key"], identities["relative_path"], strict=True))
    return rows.assign(path=[paths.get(file_key, "") for file_key in rows["file_key"]])


def _slug(criterion: str) -> str:
    by_code = {REVIEW_CODE: REVIEW, **{rule.code: rule.slug for rule in CRITERIA}}
    slug = by_code.get(criterion.upper(), criterion)
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
