"""The first sheet of an Excel workbook as text, as a reader of the sheet sees it."""

import re
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

from dsnet.errors import UserError

_PADDED = re.compile(r"0{2,}")


def read_workbook(path: Path) -> list[list[str]]:
    """Return the cells of the first sheet, row by row.

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
            remedy="save the table anew, as .xlsx or as CSV UTF-8",
        ) from error
    try:
        return [[_text(cell) for cell in row] for row in book.worksheets[0].iter_rows()]
    finally:
        book.close()


def _text(cell: Any) -> str:
    value = cell.value
    if isinstance(value, date):  # a time of day is never asked for
        value = value.date() if isinstance(value, datetime) else value
        return value.isoformat()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        padded = _PADDED.fullmatch(cell.number_format or "")
        return f"{int(value):0{len(padded[0])}d}" if padded else str(int(value))
    return "" if value is None else str(value)
