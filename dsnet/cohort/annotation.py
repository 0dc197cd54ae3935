"""One annotated vertebral body, whatever tool drew it."""

from dataclasses import dataclass
from typing import Final

from dsnet.errors import UserError

LEVEL_NAMES: Final = frozenset(
    [f"T{n}" for n in range(1, 13)]
    + [f"L{n}" for n in range(1, 7)]
    + [f"S{n}" for n in range(1, 6)]
)
"""Levels that an annotation may name; of these, DXA measures L1 to L4."""


@dataclass(frozen=True)
class Annotation:
    """A box around one vertebral body on one image.

    Attributes
    ----------
    where : str
        Table and row for messages, such as ``annotations[1] annotation row 7``. File names may be
        identifying, so tables are numbered, in the order of their paths.
    table : str
        The file's name: private.
    sop_instance_uid, file_name : str
        The image, by either or both; "" when not given. A file name counts from ``dicom/``.
    level : str
        One of `LEVEL_NAMES`.
    edges : tuple of 4 floats
        x_min, y_min, x_max, y_max in pixels, as `dsnet.contract.BOX` counts them.
    """

    where: str
    table: str
    sop_instance_uid: str
    file_name: str
    level: str
    edges: tuple[float, float, float, float]

    def error(self, *, expected: str, came: str, remedy: str) -> UserError:
        """Return the error that this row deserves."""
        private = f"{self.table}: {self.file_name or self.sop_instance_uid}"
        return UserError(self.where, expected=expected, came=came, remedy=remedy, private=private)
