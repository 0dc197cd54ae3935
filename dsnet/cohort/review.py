"""A reader's decisions, from the optional table ``review``.

Code and reason stay in that file: free text may identify somebody. The ledger names the row, the
reviewer and the date.
"""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from dsnet.cohort.spreadsheet import Row, describe, read_table
from dsnet.errors import collectable

SCOPES: Final = ("patient", "series", "file")
"""From the widest to the narrowest; a narrower decision overrides a wider one."""

_FILLED_IN = ("decision", "reviewer", "date")
_NAME = re.compile(r"[^\W\d_][^\W\d_. -]*(?:[. -]+[^\W\d_]+\.?)*\.?")
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

    @property
    def summary(self) -> str:
        """Row, reviewer and date, for the ledger."""
        return f"review row {self.row.number} ({self.reviewer}, {self.day})"


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
        raise row.error("id", expected=f"the {scope}", came="a blank cell")
    keep = _one_of(row, "decision", ("keep", "exclude")) == "keep"
    return Decision(row, scope, target, keep, _reviewer(row), _day(row))


def _reviewer(row: Row) -> str:
    text = row.cells["reviewer"]
    if len(text) > _MAX_NAME or not _NAME.fullmatch(text):
        raise row.error(
            "reviewer",
            expected="initials or a short name in letters, of the reader and not of a patient",
            came=describe(text),
            private=text,
        )
    return text


def _day(row: Row) -> str:
    text = row.cells["date"]
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise row.error(
            "date",
            expected="the day of the decision as YYYY-MM-DD",
            came=describe(text),
            private=text,
        ) from error


def _one_of(row: Row, column: str, allowed: tuple[str, ...]) -> str:
    text = row.cells[column].lower()
    if text not in allowed:
        raise row.error(
            column, expected=" or ".join(allowed), came=describe(text), private=row.cells[column]
        )
    return text
