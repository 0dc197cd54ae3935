"""A patient's history, from the optional ``clinical.csv``."""

from collections.abc import Mapping
from pathlib import Path

from dsnet.cohort.spreadsheet import Row, describe, read_table
from dsnet.errors import UserError

HISTORIES = ("fracture_history", "spine_surgery", "tumour", "bone_hyperplasia")
"""Columns that exclude a patient who has a yes in them (section 3.1, item 4)."""

History = Mapping[str, bool | None]
"""By column of `HISTORIES`; None where unknown."""

_ANSWERS = {
    "": None,
    **dict.fromkeys(("yes", "y", "1", "true"), True),
    **dict.fromkeys(("no", "n", "0", "false"), False),
}


def read_clinical(path: Path) -> dict[str, History]:
    """Return each patient's history by patient ID; empty where there is no such file.

    Rows with a blank patient ID belong to no patient and are left out.

    Raises
    ------
    UserError
        Naming row and column of what is neither yes, no nor empty, or the rows of a patient that
        disagree.
    """
    if not path.exists():
        return {}
    histories: dict[str, History] = {}
    first_row: dict[str, int] = {}
    for row in read_table(path, ["patient_id", *HISTORIES]):
        history = {column: _answer(row, column) for column in HISTORIES}
        patient = row.cells["patient_id"]
        if not patient:
            continue
        first_row.setdefault(patient, row.number)
        if histories.setdefault(patient, history) != history:
            raise UserError(
                f"{path.name} rows {first_row[patient]} and {row.number}",
                expected="one history for one patient",
                came="two that disagree",
                remedy="delete the wrong row",
                private=patient,
            )
    return histories


def _answer(row: Row, column: str) -> bool | None:
    text = row.cells[column]
    if text.lower() not in _ANSWERS:
        raise row.error(column, expected="yes, no or nothing", came=describe(text), private=text)
    return _ANSWERS[text.lower()]
