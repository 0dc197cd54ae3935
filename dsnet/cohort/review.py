"""A reader's decisions, from the optional ``review.csv``.

Code, reason, reviewer and date stay in that file: free text may identify somebody. The ledger names
the row instead.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dsnet.cohort.table import Row, describe, read_table

SCOPES: Final = ("patient", "series", "file")
"""From the widest to the narrowest; a narrower decision overrides a wider one."""


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
    """

    row: Row
    scope: str
    target: str
    keep: bool


def read_review(path: Path) -> list[Decision]:
    """Return the decisions in the order of their rows; none where there is no such file.

    Raises
    ------
    UserError
        Naming row and column of what is no scope, id or decision.
    """
    if not path.exists():
        return []
    return [_decision(row) for row in read_table(path, ["scope", "id", "decision"])]


def _decision(row: Row) -> Decision:
    scope = _one_of(row, "scope", SCOPES)
    target = row.cells["id"]
    if not target:
        raise row.error("id", expected=f"the {scope}", came="a blank cell")
    return Decision(row, scope, target, _one_of(row, "decision", ("keep", "exclude")) == "keep")


def _one_of(row: Row, column: str, allowed: tuple[str, ...]) -> str:
    text = row.cells[column].lower()
    if text not in allowed:
        raise row.error(
            column, expected=" or ".join(allowed), came=describe(text), private=row.cells[column]
        )
    return text
