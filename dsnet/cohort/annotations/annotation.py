"""One annotated vertebral body, whatever tool drew it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dsnet.errors import UserError

Edges = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max in pixels, as `dsnet.schemas.BOX` counts them."""

NOWHERE: Final[Edges] = (math.nan, math.nan, math.nan, math.nan)
"""The edges of an annotation without a box."""


@dataclass(frozen=True)
class Source:
    """One annotation file.

    Attributes
    ----------
    number : int
        From 1, in the order of the paths: file names may be identifying, so messages give this.
    path : Path
    relative : str
        Below ``annotations/``, with "/" between folders: private.
    """

    number: int
    path: Path
    relative: str

    @property
    def table(self) -> str:
        """The file's name in messages."""
        return f"annotations[{self.number}]"

    def error(self, expected: str, came: str, remedy: str, place: str = "") -> UserError:
        """Return the error that the file, or one `place` in it, deserves."""
        where = f"{self.table} {place}".rstrip()
        return UserError(where, expected=expected, came=came, remedy=remedy, private=self.relative)

    def unmatched(self, status: str, *, expected: str, came: str, remedy: str) -> "UnmatchedError":
        """Return the error of a mask that has no series or no level."""
        return UnmatchedError(
            self.table,
            status=status,
            expected=expected,
            came=came,
            remedy=remedy,
            private=self.relative,
        )


@dataclass(frozen=True)
class Annotation:
    """A box around one vertebral body on one image.

    Attributes
    ----------
    source : Source
    format : str
        As in `dsnet.schemas.ANNOTATIONS`.
    place, row : str, int
        Where it stands in the file, such as ``annotation row`` and 7. Of a mask: its label.
    label : str
        The level, as written.
    edges : tuple of 4 floats
        In pixels, or in parts of the image's width and height if `fraction`; or `NOWHERE`.
    sop_instance_uid, file_name : str
        The image, by either or both; "" when not given. A file name counts from ``dicom/``.
    file_key : str
        The image, where the reader has found it itself.
    size : tuple of 2 ints or None
        Columns and rows of the image that it was drawn on, where the file says so.
    fraction : bool
    area_mm2 : float or None
        Of the mask on the slice; None for a box.
    status : str
        What the reader already knows of its status (`dsnet.schemas.ANNOTATIONS`); "" if nothing.
    """

    source: Source
    format: str
    place: str
    row: int
    label: str
    edges: Edges
    sop_instance_uid: str = ""
    file_name: str = ""
    file_key: str = ""
    size: tuple[int, int] | None = None
    fraction: bool = False
    area_mm2: float | None = None
    status: str = ""

    @property
    def where(self) -> str:
        """Table and row for messages, such as ``annotations[1] annotation row 7``."""
        return f"{self.source.table} {self.place} {self.row}"

    def error(self, *, expected: str, came: str, remedy: str) -> UserError:
        """Return the error that this row deserves."""
        return UserError(
            self.where, expected=expected, came=came, remedy=remedy, private=self.private
        )

    def unmatched(self, status: str, *, expected: str, came: str, remedy: str) -> "UnmatchedError":
        """Return the error of a row that has no image or no level."""
        return UnmatchedError(
            self.where,
            status=status,
            expected=expected,
            came=came,
            remedy=remedy,
            private=self.private,
        )

    @property
    def private(self) -> str:
        """What says more than a message may: names and UIDs."""
        return f"{self.source.relative}: {self.label} {self.file_name or self.sop_instance_uid}"


class UnmatchedError(UserError):
    """An annotation without an image or a level: ``annotations.unmatched`` says what then.

    Attributes
    ----------
    status : str
        Of `dsnet.schemas.ANNOTATIONS`.
    """

    def __init__(
        self, where: str, *, status: str, expected: str, came: str, remedy: str, private: str
    ) -> None:
        super().__init__(
            where,
            expected=expected,
            came=came,
            remedy=f"{remedy}, or set annotations.unmatched: report to go on without it",
            private=private,
        )
        self.status = status


def positive_size(width: object, height: object) -> tuple[int, int] | None:
    """Return an image's size as a file states it, or None where it states none."""
    try:
        columns, rows = int(str(width)), int(str(height))
    except ValueError:
        return None
    return (columns, rows) if columns > 0 and rows > 0 else None
