"""A split made elsewhere, brought as a table of patients and their parts."""

from pathlib import Path

import pandas as pd

from dsnet.errors import UserError
from dsnet.schemas import SUBSETS

_COLUMNS = ["patient_key", "subset"]
_NAME = "split.file"


def read_parts(path: Path, patients: pd.DataFrame) -> "pd.Series[str]":
    """Return the part of each patient from the CSV file `path` (`patient_key,part`).

    Parameters
    ----------
    path : Path
        The config key ``split.file``.
    patients : pandas.DataFrame
        As `dsnet.split.patients.describe` returns them.

    Raises
    ------
    UserError
        If the table does not give each labelled patient, and nobody else, one part; if a part
        is empty; or if a test patient lacks one of L1-L4.
    """
    table = _read(path)
    _refuse(table, ~table["subset"].isin(SUBSETS), f"one of {', '.join(SUBSETS)}", "another part")
    _refuse(table, table["patient_key"].duplicated(), "each patient once", "one named before")
    known = table["patient_key"].isin(patients.index)
    _refuse(table, ~known, "a patient of labels.csv", f"an unknown one ({(~known).sum()} in all)")
    incomplete = table["patient_key"].map(~patients["complete"])
    untestable = (table["subset"] == "test") & incomplete
    _refuse(table, untestable, "test patients with all of L1-L4", "one that lacks a level")
    absent = patients.index.difference(pd.Index(table["patient_key"]))
    if len(absent):
        raise UserError(
            _NAME,
            expected=f"a part for each of the {len(patients)} patients of labels.csv",
            came=f"none for {len(absent)} of them, such as {absent[0]}",
            remedy="add a row for each",
        )
    lacking = [part for part in SUBSETS if part not in set(table["subset"])]
    if lacking:
        raise UserError(
            _NAME,
            expected=f"patients in each of {', '.join(SUBSETS)}",
            came=f"none in {' and '.join(lacking)}",
            remedy="move some there",
        )
    return table.set_index("patient_key")["subset"]


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(_NAME, expected="a CSV file", came="no file", remedy="correct the path")
    try:
        table = pd.read_csv(
            path,
            dtype=str,
            index_col=False,
            keep_default_na=False,
            skip_blank_lines=False,  # or rows would be counted otherwise than a spreadsheet does
            encoding="utf-8-sig",
        )
    except ValueError as error:
        raise UserError(
            _NAME,
            expected="a CSV table in UTF-8",
            came="something else",
            remedy="save it as CSV with the columns patient_key and part",
        ) from error
    if list(table.columns) != _COLUMNS:
        raise UserError(
            _NAME,
            expected=f"the columns {' and '.join(_COLUMNS)}",
            came=f"{len(table.columns)} columns, or others",
            remedy="correct its first row",
        )
    return table[(table != "").any(axis="columns")]


def _refuse(table: pd.DataFrame, wrong: "pd.Series[bool]", expected: str, came: str) -> None:
    """Raise if any row is `wrong`, naming the first as a spreadsheet counts it."""
    if wrong.any():
        row = table.index[wrong][0] + 2
        raise UserError(
            f"{_NAME} row {row}", expected=expected, came=came, remedy="correct the row"
        )
