"""A patient's history, from the optional clinical table."""

from collections.abc import Mapping
from pathlib import Path

from dsnet.cohort.spreadsheet import Row, describe, patient_ids, read_table
from dsnet.errors import UserError
from dsnet.schemas import HISTORIES

_COLUMNS = (*HISTORIES, "sex", "age", "height_cm", "weight_kg")

History = Mapping[str, bool | None]
"""By column of `HISTORIES`; None where unknown."""

_ANSWERS = {
    "": None,
    **dict.fromkeys(("yes", "y", "1", "true"), True),
    **dict.fromkeys(("no", "n", "0", "false"), False),
}


def read_clinical(path: Path) -> dict[str, History]:
    """Return each patient's history by patient ID; empty where there is no such file.

    Parameters
    ----------
    path : Path
        ``clinical.csv`` or ``clinical.xlsx``.

    Raises
    ------
    UserError
        Naming row and column of what is neither yes, no nor empty, the rows of a patient that
        disagree, or a row with values and no patient ID.
    """
    if not path.exists():
        return {}
    histories: dict[str, History] = {}
    first_row: dict[str, int] = {}
    rows = read_table(path, ["patient_id", *HISTORIES], _COLUMNS)
    for row, patient in zip(rows, patient_ids(rows, _COLUMNS), strict=True):
        if not patient:
            continue
        history = {column: _answer(row, column) for column in HISTORIES}
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
