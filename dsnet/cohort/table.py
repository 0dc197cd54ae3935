"""The user's tables, read as text: nothing is guessed, nothing is dropped."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsnet.cohort.columns import plain
from dsnet.cohort.workbook import read_workbook
from dsnet.errors import UserError

_DELIMITERS = ",;\t"


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
        """Return the error that a cell of this row deserves."""
        return UserError(
            self.where,
            expected=f"{expected} in column {column}",
            came=came,
            remedy="correct the cell",
            private=private,
        )


def describe(text: str) -> str:
    """Return what may be said of a cell in public: free text may be a name."""
    return f"text of {len(text)} characters" if text else "a blank cell"


def read_table(
    path: Path, required: Sequence[str], names: Mapping[str, str] | None = None
) -> list[Row]:
    """Return the rows of a CSV file or workbook; wholly blank ones are left out, but counted.

    Parameters
    ----------
    path : Path
        CSV in UTF-8, with or without byte order mark, with any line ends, parted by commas,
        semicolons or tabs, whichever the header holds most of; or ``.xlsx``, its first sheet.
    required : sequence of str
        Columns that must be there, in any order, among any others.
    names : mapping of str to str
        The column that a header's plain form (`dsnet.cohort.columns.plain`) stands for; None takes
        the header as it is.

    Raises
    ------
    UserError
        If the file cannot be read, lacks a required column, names a column twice, or has a row
        with more cells than the header.
    """
    lines = _read_lines(path)
    header = [cell.strip() for cell in lines[0]] if lines else []
    if names is not None:
        header = [names.get(plain(cell), cell) for cell in header]
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


def _read_lines(path: Path) -> list[list[str]]:
    if path.suffix.lower() == ".xlsx":
        return read_workbook(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            delimiter = max(_DELIMITERS, key=header.count)
            return list(csv.reader(stream, strict=True, delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            path.name,
            expected="a readable CSV file in UTF-8",
            came=_cause(error),
            remedy="save the table as CSV UTF-8 and make it readable",
        ) from error


def _cause(error: Exception) -> str:
    if isinstance(error, OSError):
        return "one that cannot be opened"
    if isinstance(error, UnicodeDecodeError):
        return f"other bytes at offset {error.start}"
    return "quotes or line ends that do not match"


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
