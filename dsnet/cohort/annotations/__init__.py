"""Boxes and masks of vertebral bodies, annotated with any tool, as one list of boxes.

`read` recognises the files and reads them (`box_formats`, `mask_formats`), `mask_geometry` cuts
masks into boxes, `image_files` looks images up, and `collect` says what became of each annotation.
The formats are described in docs/annotations.md.

Here stands what they share: one annotated vertebral body, the level that its name means, and
whether its box can be one. Size and order of the levels need no pixel. Neither can tell levels that
are all shifted by one, left from right, or a box of the right size in the wrong place.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from dsnet.errors import UserError, collectable

Entry = TypeVar("Entry")

Edges = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max in pixels, as `dsnet.schemas.BOX` counts them."""

NO_EDGES: Final[Edges] = (math.nan, math.nan, math.nan, math.nan)
"""The edges of an annotation without a box."""


LEVEL_NAMES: Final = frozenset(
    [f"C{n}" for n in range(1, 8)]
    + [f"T{n}" for n in range(1, 13)]
    + [f"L{n}" for n in range(1, 7)]
    + [f"S{n}" for n in range(1, 6)]
)
"""Levels that an annotation may name; of these, DXA measures L1 to L4."""

IGNORE: Final = "ignore"
"""Value in ``annotations.level_names`` of a name whose annotations are to be left out."""

VERSE: Final = {
    **{7 + n: f"T{n}" for n in range(1, 13)},
    **{19 + n: f"L{n}" for n in range(1, 7)},
}
"""Thoracic and lumbar numbers of VerSe (Sekuboyina et al. 2021, doi 10.1016/j.media.2021.102166),
which TPTBox took over."""

_REGIONS: Final = {
    **dict.fromkeys(("l", "lumbar"), "L"),
    **dict.fromkeys(("t", "th", "d", "thoracic", "dorsal"), "T"),
    **dict.fromkeys(("s", "sacral"), "S"),
    **dict.fromkeys(("c", "cervical"), "C"),
}
_NUMBER_WORDS: Final = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
)
_ORDINALS: Final = {word: number for number, word in enumerate(_NUMBER_WORDS.split(), start=1)}
_FILLER_WORDS: Final = (
    "vertebra vertebrae vertebral body bodies corpus level spine bone mask seg segmentation of the"
)
_FILLERS: Final = frozenset(_FILLER_WORDS.split())
_WORD: Final = re.compile(r"[a-z]+|\d+")
_ORDINAL_END: Final = re.compile(r"(?<=\d)(st|nd|rd|th)\b")


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

    def error(self, expected: str, came: str, remedy: str, row: str = "") -> UserError:
        """Return the error to raise for the file, or for one row of it (``object 7``)."""
        where = f"{self.table} {row}".rstrip()
        return UserError(where, expected=expected, came=came, remedy=remedy, private=self.relative)


@dataclass(frozen=True)
class Annotation:
    """A box around one vertebral body on one image.

    Attributes
    ----------
    source : Source
    format : str
        As in `dsnet.schemas.ANNOTATIONS`.
    row_kind, row : str, int
        Where it stands in the file, such as ``annotation row`` and 7. Of a mask: its label.
    label : str
        The level, as written.
    edges : tuple of 4 floats
        In pixels, or in fractions of the image's width and height if `fraction`; or `NO_EDGES`.
    sop_instance_uid, file_name : str
        The image, by either or both; "" when not given. A file name counts from ``dicom/``.
    file_key : str
        The image, where the reader of the file could determine it.
    size : tuple of 2 ints or None
        Columns and rows of the picture that was annotated, where the file states them.
    fraction : bool
    rotation_deg : float
        By which the tool turns the box around its centre, clockwise.
    read_as : str
        How a number or line was understood that may mean two things, as in
        `dsnet.schemas.ANNOTATIONS`; else "".
    area_mm2 : float or None
        Of the mask on the slice; None for a box.
    status : str
        The status (`dsnet.schemas.ANNOTATIONS`), where the reader of the file could determine it;
        else "".
    """

    source: Source
    format: str
    row_kind: str
    row: int
    label: str
    edges: Edges
    sop_instance_uid: str = ""
    file_name: str = ""
    file_key: str = ""
    size: tuple[int, int] | None = None
    fraction: bool = False
    rotation_deg: float = 0.0
    read_as: str = ""
    area_mm2: float | None = None
    status: str = ""

    @property
    def where(self) -> str:
        """Table and row for messages, such as ``annotations[1] annotation row 7``."""
        return f"{self.source.table} {self.row_kind} {self.row}"

    def error(self, *, expected: str, came: str, remedy: str, private: str = "") -> UserError:
        """Return the error to raise for this row."""
        private = f"{self.private}{private}"
        return UserError(self.where, expected=expected, came=came, remedy=remedy, private=private)

    @property
    def private(self) -> str:
        """Names and UIDs, which a public message may not repeat."""
        return f"{self.source.relative}: {self.label} {self.file_name or self.sop_instance_uid}"


class UnmatchedError(UserError):
    """An annotation without an image or a level; ``annotations.unmatched`` decides what follows.

    Parameters
    ----------
    status : str
        Of `dsnet.schemas.ANNOTATIONS`.
    error : UserError
        What to say of it.
    """

    def __init__(self, status: str, error: UserError) -> None:
        super().__init__(
            error.where,
            expected=error.expected,
            came=error.came,
            remedy=f"{error.remedy}, or set annotations.unmatched: report to go on without it",
            private=error.private,
        )
        self.status = status


def read_each(
    entries: Iterable[Entry], read: Callable[[int, Entry], Annotation], first: int = 1
) -> list[Annotation]:
    """Return what `read` makes of the number, from `first`, and the content of each entry."""
    annotations = []
    for number, entry in enumerate(entries, start=first):
        with collectable():
            annotations.append(read(number, entry))
    return annotations


def turned(edges: Edges, degrees: float) -> Edges:
    """Return the edges of a box that is turned around its centre.

    Examples
    --------
    >>> turned((10.0, 20.0, 14.0, 30.0), 90)
    (7.0, 23.0, 17.0, 27.0)
    """
    x_min, y_min, x_max, y_max = edges
    cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    width, height = x_max - x_min, y_max - y_min
    across, down = width * cos + height * sin, width * sin + height * cos
    x, y = (x_min + x_max) / 2, (y_min + y_max) / 2
    left, top, right, bottom = x - across / 2, y - down / 2, x + across / 2, y + down / 2
    # A millionth of a pixel is the noise of binary floats.
    return round(left, 6), round(top, 6), round(right, 6), round(bottom, 6)


def positive_size(width: object, height: object) -> tuple[int, int] | None:
    """Return an image's size as a file states it, or None where it states none."""
    try:
        columns, rows = int(str(width)), int(str(height))
    except ValueError:
        return None
    return (columns, rows) if columns > 0 and rows > 0 else None


def level_of(name: str, names: Mapping[str, str]) -> str:
    """Return the level that `name` means, `IGNORE`, or "" if it names no level.

    `names` comes first, without regard to case. Then the name may hold one region (``L``,
    ``lumbar``, ``T``, ``Th``, ``D``, ``thoracic``, ``S`` ...), one number (``1``, ``01``,
    ``first``) and filler words (``vertebrae``, ``body`` ...), in any order and separated by
    anything. A number alone counts as in VerSe. Any other word makes it unknown: "L1 pedicle" and
    "L1-L2" are no vertebral bodies.

    Parameters
    ----------
    name : str
    names : mapping of str to str
        The config key ``annotations.level_names``.

    Examples
    --------
    >>> [level_of(name, {}) for name in ("vertebrae_L1", "Lumbar 2 body", "Th12", "20", "L1-L2")]
    ['L1', 'L2', 'T12', 'L1', '']
    """
    plain = name.strip().casefold()
    configured = {key.strip().casefold(): value for key, value in names.items()}.get(plain)
    if configured is not None:
        return configured
    words = [word for word in _WORD.findall(_ORDINAL_END.sub("", plain)) if word not in _FILLERS]
    regions = {_REGIONS[word] for word in words if word in _REGIONS}
    numbers = [word for word in words if word not in _REGIONS]
    if len(numbers) != 1 or len(regions) > 1:
        return ""
    number = int(numbers[0]) if numbers[0].isdigit() else _ORDINALS.get(numbers[0], 0)
    if not regions:
        return VERSE.get(number, "") if plain.isdigit() else ""
    level = f"{regions.pop()}{number}"
    return level if level in LEVEL_NAMES else ""


_RANK: Final = {
    f"{region}{number}": above + number
    for region, above, count in (("C", 0, 7), ("T", 7, 12), ("L", 19, 6))
    for number in range(1, count + 1)
}
"""Rank of a level in the spine, from the head. The sacrum's are left out: L5 or L6 is above S1."""

_BODY_HEIGHT_MM: Final = 30.0
"""The middle of a body that is annotated on one slice is up to half of it away."""

_TILT_MM: Final = 5.0
"""An axial slice may cut two bodies of a tilted spine, so that one slice holds both."""

_VERTEBRA_MM: Final = 150.0
"""Wider than any vertebra with its processes, as masks may have it."""


@dataclass(frozen=True)
class Problem:
    """Why a box, or a pair of levels, cannot be right.

    Attributes
    ----------
    expected, came, remedy : str
        As in `dsnet.errors.UserError`.
    """

    expected: str
    came: str
    remedy: str


def size_problem(
    edges: Edges,
    spacing_mm: tuple[float, float],
    limits_mm: tuple[float, float],
    *,
    of_mask: bool,
) -> Problem | None:
    """Return what is wrong with the size of a box, or None.

    Parameters
    ----------
    edges : tuple of 4 floats
        In pixels.
    spacing_mm : tuple of 2 floats
        Between columns and between rows; NaN where the header lacks it, and nothing is wrong then.
    limits_mm : tuple of 2 floats
        Shortest and longest edge of a vertebral body.
    of_mask : bool
        A mask's box is as small as the section, and may hold the whole vertebra.
    """
    width_mm = (edges[2] - edges[0]) * spacing_mm[0]
    height_mm = (edges[3] - edges[1]) * spacing_mm[1]
    least, most = (0.0, max(limits_mm[1], _VERTEBRA_MM)) if of_mask else limits_mm
    if not (min(width_mm, height_mm) < least or max(width_mm, height_mm) > most):
        return None
    if of_mask:
        remedy = "set annotations.mask_labels to what the labels mean"
    elif max(edges) <= 1:
        remedy = "multiply its numbers, which are fractions, by the image's width and height"
    elif width_mm > most and height_mm > most:
        remedy = (
            "scale the boxes to the DICOM image's own pixels; in YOLO files, name keypoints by "
            "kpt_shape in data.yaml"
        )
    else:
        remedy = "scale the boxes to the DICOM image's own pixels, or delete the annotation"
    return Problem(
        f"a vertebral body of {least:g} to {most:g} mm (annotations.edge_mm)",
        f"a box of {width_mm:.1f} x {height_mm:.1f} mm",
        remedy,
    )


def order_problem(
    centres_mm: Mapping[str, np.ndarray], pitch_mm: tuple[float, float]
) -> tuple[str, Problem] | None:
    """Return the upper of the first two levels that cannot lie as they do, and why; or None.

    Levels descend along the body axis. From one to the next it is at least the lower limit in the
    lumbar spine, and two thirds of it above; and at most the upper one.

    Parameters
    ----------
    centres_mm : mapping of str to (boxes, 3) float64
        Of the boxes of one series, by level, in the patient's coordinates (LPS).
    pitch_mm : tuple of 2 floats
        Least and greatest distance of neighbouring levels.
    """
    ranked = sorted(centres_mm.keys() & _RANK, key=_RANK.__getitem__)
    for upper, lower in pairwise(ranked):
        steps = _RANK[lower] - _RANK[upper]
        between = centres_mm[upper].mean(axis=0) - centres_mm[lower].mean(axis=0)
        least, most = pitch_mm
        if upper[0] != "L":
            least *= 2 / 3
        slack = sum(
            max(_BODY_HEIGHT_MM - float(np.ptp(centres_mm[level][:, 2])), 0) / 2
            for level in (upper, lower)
        )
        distance_mm = float(np.linalg.norm(between))
        if between[2] < -_TILT_MM:
            return upper, Problem(
                f"{upper} above {lower} along the patient's axis",
                f"it {-between[2]:.0f} mm below",
                "correct the levels, which may be counted from below, or set "
                "annotations.mask_labels to what the labels mean",
            )
        if not steps * least - slack <= distance_mm <= steps * most + slack:
            return upper, Problem(
                f"{steps * least:.0f} to {steps * most:.0f} mm from {upper} to {lower} "
                "(annotations.pitch_mm)",
                f"{distance_mm:.0f} mm",
                "correct the levels, or set annotations.mask_labels to what the labels mean",
            )
    return None
