"""What a container holds: text, values, whole numbers, and further files."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """Running text; `typed` where numbers in it are seen as `Numbers` already."""

    text: str
    typed: bool = False


@dataclass(frozen=True)
class Values:
    """Text values of a column, or of a whole document."""

    texts: list[str]


@dataclass(frozen=True)
class Numbers:
    """Whole numbers of a column."""

    name: str
    numbers: list[int]


@dataclass(frozen=True)
class File:
    """A file within a file."""

    name: str
    content: bytes


Piece = Text | Values | Numbers | File
