"""The user's tables, CSV or Excel, read as text: nothing is guessed, nothing is dropped."""

import csv
import difflib
import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from dsnet.errors import UserError, collectable

WORKBOOKS: Final = (".xlsx", ".xlsm")
READABLE: Final = (".csv", *WORKBOOKS)
"""Suffixes of the tables that can be read."""

_DELIMITERS: Final = ",;\t"
_DELIMITER_HINT: Final = re.compile(r"sep=([,;\t])")
"""First line that names the delimiter for Excel; Excel itself does not show it."""

_ZERO_PADDED: Final = re.compile(r"0{2,}")
"""Number format of an Excel cell that shows leading zeros."""

_TITLE_ROWS: Final = 10
"""Rows among which the header is looked for, below titles that an export puts above it."""

_SPREADSHEET_DIGITS: Final = 15
"""Significant digits that a spreadsheet program keeps of a number."""

_FORMULA: Final = "a formula that was never computed"
_ERROR: Final = "an error such as #N/A"
_LOST_DIGITS: Final = f"a number beyond {_SPREADSHEET_DIGITS} digits, whose last digits are lost"
_MERGED: Final = "cells merged over several columns"
_REMEDY: Final = {
    _FORMULA: "open the workbook in a spreadsheet program and save it",
    _ERROR: "correct the cell",
    _LOST_DIGITS: "format the column as text and enter the numbers again",
    _MERGED: "split them",
}
"""What is wrong with a cell of a workbook, and what to do."""

_CHANGED_IDS: Final = {
    r"\d([.,]\d+)?[eE]\+\d+": "a number in powers of ten, whose last digits are lost",
    r"\d+[.,]0+": "a number with a decimal point",
}
"""What a spreadsheet program makes of an ID, by the form of the text."""


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
    typed_dates : frozenset of str
        Columns in which the cell is no text, but a date of a workbook.
    """

    table: str
    number: int
    cells: dict[str, str]
    typed_dates: frozenset[str] = frozenset()

    @property
    def where(self) -> str:
        """The row's name in a message."""
        return f"{self.table} row {self.number}"

    def error(
        self,
        column: str,
        *,
        expected: str,
        came: str = "",
        remedy: str = "correct the cell",
        private: str = "",
    ) -> UserError:
        """Return the error to raise for a cell, which it describes where `came` does not."""
        text = self.cells.get(column, "")
        return UserError(
            self.where,
            expected=f"{expected} in column {column}",
            came=came or describe(text),
            remedy=remedy,
            private=private if came else text,
        )


@dataclass
class _Sheet:
    """The cells of a table.

    Attributes
    ----------
    lines : list of list of str
    faults : dict of (int, int) to str
        What is wrong with a cell, by row (from 1) and column (from 0); it matters only where the
        column is read.
    dates : set of (int, int)
        Cells that are dates, and not text.
    """

    lines: list[list[str]]
    faults: dict[tuple[int, int], str] = field(default_factory=dict)
    dates: set[tuple[int, int]] = field(default_factory=set)


def describe(text: str) -> str:
    """Return what a public message may say of a cell: free text may be a name."""
    return f"text of {len(text)} characters" if text else "a blank cell"


def normalised(name: str) -> str:
    """Return a column's name in lower case, with single blanks."""
    return " ".join(name.lower().split())


def read_table(
    path: Path,
    required: Sequence[str],
    optional: Iterable[str] = (),
    column_of: Callable[[str], str] | None = None,
) -> list[Row]:
    """Return the rows of a CSV file or workbook; blank rows are left out, but counted.

    Parameters
    ----------
    path : Path
        CSV in UTF-8 or (with a byte order mark) UTF-16, with any line ends, separated by the one of
        comma, semicolon and tab that the header holds most of; a first line ``sep=;`` is skipped.
        Or ``.xlsx``, the first sheet: merged cells count in each of their rows.
    required : sequence of str
        Columns that must be there, in any order, among any others.
    optional : iterable of str
        Columns that are read where they are there.
    column_of : callable or None
        Returns this project's name of a column in the header; None compares the names of
        `required` and `optional` without regard to case and blanks.

    Raises
    ------
    UserError
        If the file cannot be read, lacks a required column, names a column twice, or has a row
        with more cells than the header; if a cell of a column that is read holds a formula
        that was never computed, an error, or a number of which digits are lost.
    """
    is_workbook = path.suffix.lower() in WORKBOOKS
    own = {normalised(name): name for name in (*required, *optional)}
    column_of = column_of or (lambda name: own.get(normalised(name), name))
    sheet = _read_workbook(path, required, column_of) if is_workbook else _read_csv(path)
    header = _header(sheet.lines, column_of)
    _check_header(path.name, header, required, sheet.lines)
    read = set(own.values())
    rows = []
    for number, line in enumerate(sheet.lines[1:], start=2):
        cells = [cell.strip() for cell in line]
        index_of = {name: (number, at) for at, name in enumerate(header) if name in read}
        with collectable():
            for name, index in index_of.items():
                if index in sheet.faults:
                    raise UserError(
                        f"{path.name} row {number}",
                        expected=f"a value in column {name}",
                        came=sheet.faults[index],
                        remedy=_REMEDY[sheet.faults[index]],
                    )
            if not any(cells):
                continue
            if not is_workbook:
                _check_width(path.name, number, cells, header)
            cells += [""] * (len(header) - len(cells))
            dates = frozenset(name for name, index in index_of.items() if index in sheet.dates)
            rows.append(Row(path.name, number, dict(zip(header, cells, strict=False)), dates))
    return rows


def patient_ids(rows: Sequence[Row], read: Iterable[str]) -> list[str]:
    """Return the ``patient_id`` of each row, "" for a row that holds nothing else that is read.

    Parameters
    ----------
    rows : sequence of Row
    read : iterable of str
        The columns that are read of the table.

    Raises
    ------
    UserError
        If a row holds values and no ID, or a spreadsheet program has changed an ID: into a number
        with a decimal point, a date, or a number of which the last digits are lost.
    """
    columns = [column for column in read if column != "patient_id"]
    ids = [row.cells["patient_id"] for row in rows]
    for row, name in zip(rows, ids, strict=True):
        with collectable():
            if not name and any(row.cells.get(column) for column in columns):
                raise row.error(
                    "patient_id",
                    expected="an ID beside the values of the row",
                    remedy="fill it in, or delete the row",
                )
            forms = (came for form, came in _CHANGED_IDS.items() if re.fullmatch(form, name))
            changed = "a date" if "patient_id" in row.typed_dates else next(forms, "")
            if changed:
                raise row.error(
                    "patient_id",
                    expected="the ID as the CT header gives it",
                    came=changed,
                    remedy="export the column as text",
                    private=name,
                )
    long = {name for name in ids if name.isdecimal() and len(name) > _SPREADSHEET_DIGITS}
    if len(long) >= 2 and all(set(name[_SPREADSHEET_DIGITS:]) == {"0"} for name in long):
        first = next(row for row, name in zip(rows, ids, strict=True) if name in long)
        with collectable():
            raise first.error(
                "patient_id",
                expected="an ID with all its digits",
                came=f"one of {len(long)} whose digits after the fifteenth are all zero",
                remedy="export the column as text: spreadsheet programs keep 15 digits of a number",
            )
    return ids


def _header(lines: Sequence[Sequence[str]], column_of: Callable[[str], str]) -> list[str]:
    return [column_of(cell.strip()) for cell in lines[0]] if lines else []


def _check_header(
    table: str, header: Sequence[str], required: Sequence[str], lines: Sequence[Sequence[str]]
) -> None:
    below = [
        number
        for number, line in enumerate(lines[1:_TITLE_ROWS], start=2)
        if {normalised(name) for name in required} <= {normalised(cell) for cell in line}
    ]
    if below:
        raise UserError(
            f"{table} row 1",
            expected="the names of the columns",
            came=f"a title, with the names in row {below[0]}",
            remedy=f"delete the rows above row {below[0]}",
        )
    for name in required:
        if name not in header:
            plain = [normalised(cell) for cell in header]
            near = difflib.get_close_matches(name, plain, n=1)
            raise UserError(
                f"{table} row 1",
                expected=f"a column {name}",
                came=f"{len(header)} columns, none of that name"
                + (f" but column {plain.index(near[0]) + 1} nearly so" if near else ""),
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


def _check_width(table: str, number: int, cells: Sequence[str], header: Sequence[str]) -> None:
    """Stop at a row that an unquoted delimiter has made too long, even if its end is blank."""
    stray = next((at for at, name in enumerate(header) if not name and any(cells[at : at + 1])), 0)
    if len(cells) > len(header) or stray:
        raise UserError(
            f"{table} row {number}",
            expected=f"{len(header)} cells, as in the header" if not stray else "named columns",
            came=f"{len(cells)}" if not stray else f"a value in column {stray + 1}, without a name",
            remedy="put cells that hold the delimiter in double quotes (numbers with a decimal "
            "comma, for one), or separate the cells by semicolons",
        )


def _read_csv(path: Path) -> _Sheet:
    try:
        content = path.read_bytes()
        marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = content.decode("utf-16" if marked else "utf-8-sig")
    except OSError as error:
        raise _unreadable_csv(path, "one that cannot be opened") from error
    except UnicodeDecodeError as error:
        raise _unreadable_csv(path, f"other bytes at offset {error.start}") from error
    first, _, rest = text.partition("\n")
    hint = _DELIMITER_HINT.fullmatch(first.strip().strip('"'))
    if hint:
        text = rest
    delimiter = hint[1] if hint else max(_DELIMITERS, key=first.count)
    try:
        lines = io.StringIO(text, newline="")
        return _Sheet(list(csv.reader(lines, strict=True, delimiter=delimiter)))
    except csv.Error as error:
        raise _unreadable_csv(path, "quotes or line ends that do not match") from error


def _unreadable_csv(path: Path, came: str) -> UserError:
    return UserError(
        path.name,
        expected="a readable CSV file in UTF-8",
        came=came,
        remedy="save the table as CSV UTF-8 and make it readable",
    )


def read_workbook(path: Path) -> list[list[str]]:
    """Return the cells of the first sheet of an Excel workbook as text, row by row.

    A date becomes YYYY-MM-DD, a number its digits: the 15 that Excel keeps. A number whose format
    pads it with zeros (``00000000``, as Excel keeps hospital IDs that were typed as numbers) keeps
    these zeros.

    Raises
    ------
    UserError
        If the file is no workbook.
    """
    with _opened(path, formulas=False) as book:
        return _sheet_of(book.worksheets[0], None).lines


def _read_workbook(path: Path, required: Sequence[str], column_of: Callable[[str], str]) -> _Sheet:
    """Return the first sheet; no other may hold the same table, since its rows would be lost."""
    with _opened(path, formulas=False) as values, _opened(path, formulas=True) as formulas:
        sheets = [
            _sheet_of(sheet, formulas[sheet.title])
            for sheet in values.worksheets
            if sheet.sheet_state == "visible" or sheet is values.worksheets[0]
        ]
    tables = sum(set(required) <= set(_header(sheet.lines, column_of)) for sheet in sheets)
    if tables > 1:
        raise UserError(
            path.name,
            expected="one sheet with the table",
            came=f"{tables}",
            remedy="bring the rows together on the first sheet",
        )
    return sheets[0]


@contextmanager
def _opened(path: Path, *, formulas: bool) -> Iterator[Any]:
    """Yield a workbook with the values that its formulas gave, or with the formulas themselves."""
    from openpyxl import load_workbook  # noqa: PLC0415 - slow, and only for workbooks

    from dsnet.dicom.reader import is_of_machine  # noqa: PLC0415 - as above

    try:
        # The file is opened here, since openpyxl leaves a damaged one open.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that openpyxl leaves out
            book = load_workbook(file, data_only=not formulas)
    except Exception as error:  # a damaged part raises errors of zip, XML, numbers, dates
        if is_of_machine(error):
            raise
        raise UserError(
            path.name,
            expected="a readable Excel workbook",
            came="one that cannot be opened" if isinstance(error, OSError) else "something else",
            remedy="save the table again, as .xlsx or as CSV UTF-8",
        ) from error
    try:
        yield book
    finally:
        book.close()


def _sheet_of(values: Any, formulas: Any) -> _Sheet:
    """Return the cells of a sheet, with merged cells filled downwards.

    Parameters
    ----------
    values, formulas : openpyxl.worksheet.worksheet.Worksheet
        The sheet with the values and with the formulas; without the latter, no cell is a fault.
    """
    sheet = _Sheet([])
    for number, cells in enumerate(values.iter_rows(), start=1):
        sheet.lines.append([_cell_text(cell) for cell in cells])
        for column, cell in enumerate(cells):
            fault = _fault(cell, formulas.cell(number, column + 1)) if formulas else ""
            if fault:
                sheet.faults[number, column] = fault
            if isinstance(cell.value, date):
                sheet.dates.add((number, column))
    for merged in values.merged_cells.ranges:
        _fill_down(sheet, merged)
    for line in sheet.lines:
        while line and not line[-1]:
            line.pop()
    return sheet


def _fill_down(sheet: _Sheet, merged: Any) -> None:
    """Give each row of merged cells their value; over several columns they belong to none."""
    top, left = merged.min_row, merged.min_col - 1
    if not sheet.lines[top - 1][left]:
        return
    for number in range(max(top, 2), merged.max_row + 1):
        if merged.max_col - 1 > left:
            across = range(left, merged.max_col)
            sheet.faults.update({(number, column): _MERGED for column in across})
        sheet.lines[number - 1][left] = sheet.lines[top - 1][left]
        if (top, left) in sheet.dates:
            sheet.dates.add((number, left))


def _fault(value: Any, formula: Any) -> str:
    """Return what is wrong with a cell, or "".

    A formula that a spreadsheet program has computed to an empty text has the type ``str``.
    """
    if formula.data_type == "f" and value.value is None and value.data_type != "str":
        return _FORMULA
    if value.data_type == "e":
        return _ERROR
    number = value.value
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return _LOST_DIGITS if is_number and abs(number) >= 10**_SPREADSHEET_DIGITS else ""


def _cell_text(cell: Any) -> str:
    value = cell.value
    if isinstance(value, date):  # the time of day is never needed
        return value.isoformat()[:10]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        padded = _ZERO_PADDED.fullmatch(cell.number_format or "")
        return f"{int(value):0{len(padded[0])}d}" if padded else str(int(value))
    if isinstance(value, float):
        # As a spreadsheet program shows it: -2.4499999999999997 is -2.45, 5.4e-79 has no exponent.
        return format(Decimal(f"{value:.{_SPREADSHEET_DIGITS}g}"), "f")
    return "" if value is None else str(value)
