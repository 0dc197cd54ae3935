"""The user's tables, CSV or Excel, read as text: nothing is guessed, nothing is dropped."""

import csv
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from dsnet.errors import UserError

_DELIMITERS: Final = ",;\t"
_ZERO_PADDED: Final = re.compile(r"0{2,}")
"""Number format of an Excel cell that shows leading zeros."""


@dataclass(frozen=True)
class Row:
    """One row of a user's table.

    Attributes
    ----------
    table : str
        The table's fixed name, such as ``dxa.csv``.
    number : int
        Counted as a spreadsheet shows it: the header is row 1.
    cells : dict of str to str
        Text by column, without blanks around it; "" where the row ends early.
    """

    table: str
    number: int
    cells: dict[str, str]

    @property
    def where(self) -> str:
        """The row's name in a message."""
        return f"{self.table} row {self.number}"

    def error(self, column: str, *, expected: str, came: str, private: str = "") -> UserError:
        """Return the error to raise for a cell of this row."""
        return UserError(
            self.where,
            expected=f"{expected} in column {column}",
            came=came,
            remedy="correct the cell",
            private=private,
        )


def describe(text: str) -> str:
    """Return what a public message may say of a cell: free text may be a name."""
    return f"text of {len(text)} characters" if text else "a blank cell"


def normalised(name: str) -> str:
    """Return a column's name in lower case, with single blanks."""
    return " ".join(name.lower().split())


def read_table(
    path: Path, required: Sequence[str], names: Mapping[str, str] | None = None
) -> list[Row]:
    """Return the rows of a CSV file or workbook; blank rows are left out, but counted.

    Parameters
    ----------
    path : Path
        CSV in UTF-8, with or without byte order mark and with any line ends, separated by the one
        of comma, semicolon and tab that the header holds most of; or ``.xlsx``, its first sheet.
    required : sequence of str
        Columns that must be there, in any order, among any others.
    names : mapping of str to str
        This project's column by the normalised name of the header (`normalised`); None takes the
        header as it is.

    Raises
    ------
    UserError
        If the file cannot be read, lacks a required column, names a column twice, or has a row
        with more cells than the header.
    """
    is_workbook = path.suffix.lower() == ".xlsx"
    lines = read_workbook(path) if is_workbook else _read_csv(path)
    header = [cell.strip() for cell in lines[0]] if lines else []
    if names is not None:
        header = [names.get(normalised(cell), cell) for cell in header]
    _check_header(path.name, header, required)
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = [cell.strip() for cell in line]
        if not any(cells):
            continue
        if any(cells[len(header) :]):
            raise UserError(
                f"{path.name} row {number}",
                expected=f"{len(header)} cells, as in the header",
                came=f"{len(cells)}",
                remedy="correct the row, or put cells that hold the delimiter in double quotes",
            )
        cells += [""] * (len(header) - len(cells))
        rows.append(Row(path.name, number, dict(zip(header, cells, strict=False))))
    return rows


def _read_csv(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            delimiter = max(_DELIMITERS, key=header.count)
            return list(csv.reader(stream, strict=True, delimiter=delimiter))
    except OSError as error:
        raise _unreadable_csv(path, "one that cannot be opened") from error
    except UnicodeDecodeError as error:
        raise _unreadable_csv(path, f"other bytes at offset {error.start}") from error
    except csv.Error as error:
        raise _unreadable_csv(path, "quotes or line ends that do not match") from error


def _unreadable_csv(path: Path, came: str) -> UserError:
    return UserError(
        path.name,
        expected="a readable CSV file in UTF-8",
        came=came,
        remedy="save the table as CSV UTF-8 and make it readable",
    )


def _check_header(table: str, header: Sequence[str], required: Iterable[str]) -> None:
    for name in required:
        if name not in header:
            raise UserError(
                f"{table} row 1",
                expected=f"a column {name}",
                came=f"{len(header)} columns, none of that name",
                remedy="add or rename the column",
            )
    for number, name in enumerate(header, start=1):
        if name and header.index(name) + 1 < number:
            raise UserError(
                f"{table} row 1",
                expected="each column once",
                came=f"one name over columns {header.index(name) + 1} and {number}",
                remedy="rename or delete one of them",
                private=name,
            )


def read_workbook(path: Path) -> list[list[str]]:
    """Return the cells of the first sheet of an Excel workbook as text, row by row.

    A date becomes YYYY-MM-DD, a number its digits. A number whose format pads it with zeros
    (``00000000``, as Excel keeps hospital IDs that were typed as numbers) keeps these zeros.

    Raises
    ------
    UserError
        If the file is no workbook.
    """
    from openpyxl import load_workbook  # noqa: PLC0415 - slow, and only for workbooks
    from openpyxl.utils.exceptions import InvalidFileException  # noqa: PLC0415 - as above

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, InvalidFileException) as error:
        raise UserError(
            path.name,
            expected="a readable Excel workbook",
            came="one that cannot be opened" if isinstance(error, OSError) else "something else",
            remedy="save the table again, as .xlsx or as CSV UTF-8",
        ) from error
    try:
        return [[_cell_text(cell) for cell in row] for row in book.worksheets[0].iter_rows()]
    finally:
        book.close()


def _cell_text(cell: Any) -> str:
    value = cell.value
    if isinstance(value, date):  # the time of day is never needed
        value = value.date() if isinstance(value, datetime) else value
        return value.isoformat()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        padded = _ZERO_PADDED.fullmatch(cell.number_format or "")
        return f"{int(value):0{len(padded[0])}d}" if padded else str(int(value))
    return "" if value is None else str(value)
