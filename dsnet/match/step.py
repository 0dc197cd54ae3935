"""The match step: the hospital's tables and annotations, each read once, by file and patient.

A reader's decisions come from the optional table ``review``. Code and reason stay in that file:
free text may identify somebody. The ledger names the row, the reviewer and the date.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import pandas as pd

from dsnet import schemas
from dsnet.cohort.annotations.collect import collect
from dsnet.cohort.dxa import read_dxa
from dsnet.cohort.exams import exams_table
from dsnet.cohort.folder import CohortFolder
from dsnet.cohort.spreadsheet import Row, read_table
from dsnet.config.cohort import Annotations, Clinical, Dxa, Label
from dsnet.errors import UserError, collectable
from dsnet.match.patients import (
    check_some_match,
    near_misses,
    patients_table,
    read_clinical,
    write_id_match,
)
from dsnet.private import PrivateCohort
from dsnet.results import Results
from dsnet.schemas import DECISIONS
from dsnet.step import run


def match(
    *,
    annotations: Annotations,
    dxa: Dxa,
    clinical: Clinical,
    label: Label,
    cohort: Path,
    private: Path,
    source: Path,
    index: Path,
    boxes: Path,
    exams: Path,
    patients: Path,
    decisions: Path,
) -> None:
    """Match annotations, exams, histories and decisions with the files and patients of the CT.

    A cohort without ``dxa.csv`` or ``annotations/`` is legal here: its files are excluded later,
    each with that reason. What comes near a patient ID goes to ``id_match.csv`` in the private
    folder, and what comes near an annotation's image to ``annotation_match.csv``.

    Parameters
    ----------
    annotations, dxa, clinical, label : Annotations, Dxa, Clinical, Label
    cohort : Path
        The cohort folder, for its tables.
    private : Path
        The folder of the config key ``private``, for the map.
    source, index : Path
        Whose results these are, and `schemas.INDEX`.
    boxes, exams, patients, decisions : Path
        Written: `schemas.ANNOTATIONS`, `schemas.EXAMS`, `schemas.PATIENTS` and
        `schemas.DECISIONS`.

    Raises
    ------
    UserError
        Naming table and row of what cannot be read, or does not fit the images.
    """
    folder = CohortFolder(cohort)
    own = Results(source.parents[1]).private(private, cohort)
    files = schemas.read(schemas.INDEX, index)
    identities = own.read_map()
    _check_map(files, identities)
    annotated = collect(
        folder.annotations, files, identities, annotations, own.annotation_match_path
    )
    measured = read_dxa(folder.dxa, label.t_score, dxa)
    histories = read_clinical(folder.clinical, clinical)
    scanned = identities["patient_id"]
    # Of patients who withdrew, rows may still stand in the hospital's tables.
    ids_of = {"dxa": _present(measured.exams, own), "clinical": _present(histories, own)}
    unmatched = near_misses({"ct": scanned, **ids_of})
    write_id_match(unmatched, own.id_match_path)
    check_some_match("DXA table", ids_of["dxa"], scanned)
    check_some_match("clinical table", ids_of["clinical"], scanned)
    ct = files.merge(identities[["file_key", "patient_id", "ct_date"]], on="file_key")
    schemas.write(schemas.ANNOTATIONS, annotated, boxes)
    people = patients_table(
        ct, measured, histories, unmatched, clinical=folder.clinical, private=own
    )
    for schema, table, path in (
        (schemas.EXAMS, exams_table(ct, measured, own), exams),
        (schemas.PATIENTS, people, patients),
    ):
        # Their rows may still stand in the hospital's tables.
        kept = table[~table["patient_key"].isin(own.withdrawn())]
        schemas.write(schema, kept, path)
    decided = decisions_table(files, identities, read_review(folder.review))
    schemas.write(schemas.DECISIONS, decided, decisions)


def _present(ids: Iterable[str], own: PrivateCohort) -> list[str]:
    """Return the IDs of a table without those of patients who withdrew."""
    gone = own.withdrawn()
    return [name for name in ids if not gone or own.pseudonym("patient", name) not in gone]


def _check_map(files: pd.DataFrame, identities: pd.DataFrame) -> None:
    if set(files["file_key"]) != set(identities["file_key"]):
        raise UserError(
            "index.parquet",
            expected="the files of the private map",
            came=f"{len(files)} files beside {len(identities)} in the map",
            remedy="run the ingestion again",
        )


SCOPES: Final = ("patient", "series", "file")
"""From the widest to the narrowest; a narrower decision overrides a wider one."""

_FILLED_IN = ("decision", "reviewer", "date")
_REVIEWER = re.compile(r"[^\W\d_][^\W\d_. -]*(?:[. -]+[^\W\d_]+\.?)*\.?")
_MAX_NAME = 32


@dataclass(frozen=True)
class Decision:
    """One row of ``review.csv``.

    Attributes
    ----------
    row : Row
    scope : {"patient", "series", "file"}
    target : str
        A pseudonym, or a hospital ID, UID or path below ``dicom/``.
    keep : bool
        Whether the reader keeps what rules exclude; otherwise the reader excludes it.
    reviewer : str
        Initials or a short name of the reader.
    day : str
        When the decision was made, as YYYY-MM-DD.
    """

    row: Row
    scope: str
    target: str
    keep: bool
    reviewer: str
    day: str


def read_review(path: Path) -> list[Decision]:
    """Return the decisions in the order of their rows; none where there is no such file.

    A row without decision, reviewer and date is one that ``dsnet review-list`` wrote and no reader
    has filled in yet: it decides nothing.

    Raises
    ------
    UserError
        Naming row and column of what is no scope, id, decision, reviewer or date.
    """
    if not path.exists():
        return []
    rows = read_table(path, ["scope", "id", "decision", "reviewer", "date"])
    decisions = []
    for row in rows:
        if any(row.cells[column] for column in _FILLED_IN):
            with collectable():
                decisions.append(_decision(row))
    return decisions


def _decision(row: Row) -> Decision:
    scope = _one_of(row, "scope", SCOPES)
    target = row.cells["id"]
    if not target:
        raise row.error("id", expected=f"the {scope}")
    keep = _one_of(row, "decision", ("keep", "exclude")) == "keep"
    return Decision(row, scope, target, keep, _reviewer(row), _day(row))


def _reviewer(row: Row) -> str:
    text = row.cells["reviewer"]
    if len(text) > _MAX_NAME or not _REVIEWER.fullmatch(text):
        raise row.error(
            "reviewer",
            expected="initials or a short name in letters, of the reader and not of a patient",
        )
    return text


def _day(row: Row) -> str:
    text = row.cells["date"]
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise row.error("date", expected="the day of the decision as YYYY-MM-DD") from error


def _one_of(row: Row, column: str, allowed: tuple[str, ...]) -> str:
    text = row.cells[column].lower()
    if text not in allowed:
        raise row.error(column, expected=" or ".join(allowed))
    return text


_NAMES = {
    "patient": ("patient_key", "patient_id"),
    "series": ("series_key", "series_instance_uid"),
    "file": ("file_key", "image_key", "relative_path", "sop_instance_uid"),
}
"""Columns by whose values a decision may name what it means."""

_PRIVATE = ["file_key", "relative_path", "patient_id", "series_instance_uid", "sop_instance_uid"]


def decisions_table(
    index: pd.DataFrame, identities: pd.DataFrame, decisions: Sequence[Decision]
) -> pd.DataFrame:
    """Return `dsnet.schemas.DECISIONS`, in the order of scope and then of row.

    Of rows that say the same of one file, series or patient, the last is named.

    Parameters
    ----------
    index, identities : DataFrame
        `dsnet.schemas.INDEX` and the private `dsnet.schemas.MAP`.
    decisions : sequence of Decision

    Raises
    ------
    UserError
        If a decision fits no file, or two of one scope contradict each other.
    """
    files = index.merge(identities[_PRIVATE], on="file_key") if decisions else index
    decided: dict[tuple[str, str], Decision] = {}
    for scope in SCOPES:
        own = [decision for decision in decisions if decision.scope == scope]
        keys_of = _keys_by_name(files, scope) if own else {}
        for decision in own:
            with collectable():
                for key in _keys_meant(keys_of, decision):
                    other = decided.pop((scope, key), decision)
                    if other.keep != decision.keep:
                        raise UserError(
                            f"review.csv rows {other.row.number} and {decision.row.number}",
                            expected=f"one decision on a {scope}",
                            came="keep and exclude",
                            remedy="delete one of the rows",
                        )
                    decided[scope, key] = decision
    rows = [
        (scope, key, "keep" if one.keep else "exclude", one.row.number, one.reviewer, one.day)
        for (scope, key), one in decided.items()
    ]
    table = pd.DataFrame(rows, columns=list(DECISIONS.columns))
    return table.astype({**dict.fromkeys(table.columns, str), "row": "int64"})


def _keys_by_name(files: pd.DataFrame, scope: str) -> dict[str, list[str]]:
    """Return the keys of the files, series or patients that each name means."""
    keys_of: dict[str, list[str]] = {}
    key = f"{scope}_key"
    for column in _NAMES[scope]:
        named = files[(files[column] != "") & (files[key] != "")]
        for name, keys in named.groupby(column)[key]:
            keys_of.setdefault(str(name), list(dict.fromkeys(keys)))
    return keys_of


def _keys_meant(keys_of: dict[str, list[str]], decision: Decision) -> list[str]:
    name = decision.target
    if decision.scope == "file":
        name = name.replace("\\", "/").removeprefix("./").removeprefix("dicom/")
    if name not in keys_of:
        raise decision.row.error(
            "id",
            expected=f"a {decision.scope} of this cohort, as pseudonym or by its own name",
            came=f"text of {len(name)} characters that fits none",
            private=name,
        )
    return keys_of[name]


if __name__ == "__main__":
    run(match)
