"""Looking into one file, and into the files within it."""

import re
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from lzma import LZMAError
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pandas as pd

from dsnet import schemas
from dsnet.dicom.reader import quiet
from dsnet.phi.container import kind_of, pieces
from dsnet.phi.needles import TYPED_DIGITS, WHOLE_DIGITS, Met, Needles, fold, make_needles
from dsnet.phi.piece import File, Numbers, Text, Values
from dsnet.phi.search import Search
from dsnet.phi.textual import decoded_name
from dsnet.phi.vocabulary import program_words

DAMAGES = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    LZMAError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    sqlite3.Error,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the libraries raise for a container that is damaged or is none; its raw bytes are searched
all the same."""

_AS_TEXT = ("text", "csv", "json")
_BLOCK_BYTES, _OVERLAP_BYTES = 1 << 24, 1 << 12
_LARGEST_DECODED = 1 << 30
_HEAD_BYTES = 1024
_DEEPEST = 4
_PATIENT_FILE = re.compile(r"(?:^|/)deidentified/(P-[0-9a-f]{16})/")


class Source(NamedTuple):
    """Where the needles come from; small enough to travel to each process.

    Attributes
    ----------
    values : str
        `dsnet.schemas.IDENTIFYING`.
    published : str
        `dsnet.schemas.INDEX`, whose kernels are published; need not exist.
    allowed : str
        Text file of values that the user allows, one a line; need not exist.
    """

    values: str
    published: str
    allowed: str


class Hit(NamedTuple):
    """An identifying value found; `place` is the container, or "name" for the file's path."""

    place: str
    kind: str
    value: str


@dataclass
class Seen:
    """What was looked at, and what was found.

    Attributes
    ----------
    files, bytes : Counter
        By container; those within another are counted as "zip > png".
    hits : Counter
        How many times.
    damaged : Counter
        Containers that could not be decoded: their raw bytes alone were searched.
    gone : int
        Files that vanished before they were opened.
    """

    files: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    hits: Counter[Hit] = field(default_factory=Counter)
    damaged: Counter[str] = field(default_factory=Counter)
    gone: int = 0


def inspect_file(path: Path, relative: str, source: Source) -> Seen:
    """Return what one file and its path hold.

    Parameters
    ----------
    path : Path
    relative : str
        Below the folder that is searched.
    source : Source
    """
    search, seen = _search(source), Seen()
    found = _PATIENT_FILE.search("/" + relative)
    view = _View(search, seen, found[1] if found else "")
    parts = relative.split("/")
    view.note("name", search.values([*parts, decoded_name(relative)]))
    try:
        with path.open("rb") as stream:
            _inspect(view, parts[-1], stream, path.stat().st_size)
    except FileNotFoundError:
        # Snakemake's records come and go while it runs; nobody can share what is gone.
        seen.gone += 1
    return seen


def _inspect(view: "_View", name: str, stream: BinaryIO, size: int) -> None:
    kind = kind_of(name, stream.read(_HEAD_BYTES))
    stream.seek(0)
    if size <= _LARGEST_DECODED and kind != "binary":
        with quiet():
            view.look(name, stream.read(), "", 0)
        return
    if kind != "binary":
        view.seen.damaged[kind] += 1
    view.seen.files[kind] += 1
    view.seen.bytes[kind] += size
    tail = b""
    while block := stream.read(_BLOCK_BYTES):
        view.note(kind, view.search.raw(tail + block, patient=view.patient))
        tail = block[-_OVERLAP_BYTES:]


@dataclass
class _View:
    search: Search
    seen: Seen
    patient: str

    def note(self, place: str, found: Iterator[Met]) -> None:
        for met in found:
            self.seen.hits[Hit(place, met.kind, met.value)] += 1

    def look(self, name: str, content: bytes, outside: str, depth: int) -> None:
        kind = kind_of(name, content[:_HEAD_BYTES])
        place = f"{outside} > {kind}" if outside else kind
        self.seen.files[place] += 1
        self.seen.bytes[place] += len(content)
        if kind not in _AS_TEXT:
            for start in range(0, len(content), _BLOCK_BYTES):
                block = content[start : start + _BLOCK_BYTES + _OVERLAP_BYTES]
                self.note(place, self.search.raw(block, patient=self.patient))
        try:
            for piece in pieces(kind, content):
                if isinstance(piece, File):
                    self.note(place, self.search.values(piece.name.split("/")))
                    if depth < _DEEPEST:
                        self.look(piece.name, piece.content, place, depth + 1)
                    else:
                        self.seen.damaged[f"{place}, deeper"] += 1
                        self.note(place, self.search.raw(piece.content, patient=self.patient))
                else:
                    self.note(place, self._in(piece))
        except DAMAGES:
            self.seen.damaged[place] += 1

    def _in(self, piece: Text | Values | Numbers) -> Iterator[Met]:
        if isinstance(piece, Text):
            digits = TYPED_DIGITS if piece.typed else WHOLE_DIGITS
            return self.search.text(piece.text, patient=self.patient, min_digits=digits)
        if isinstance(piece, Values):
            return self.search.values(piece.texts, patient=self.patient)
        return self.search.numbers(piece.name, piece.numbers)


def needles_of(source: Source) -> Needles:
    """Return what to look for, from the private folder."""
    table = schemas.read(schemas.IDENTIFYING, Path(source.values))
    grouped = table.groupby(["value", "kind", "form"], sort=True)["patient_key"].agg(frozenset)
    values = grouped.reset_index().itertuples(index=False, name=None)
    return make_needles(
        [Met(*row) for row in values],
        vocabulary=program_words(),
        published=_published(Path(source.published)),
        allowed=_allowed(Path(source.allowed)),
    )


def _published(index: Path) -> set[str]:
    if not index.exists():
        return set()
    return {fold(kernel) for kernel in pd.read_parquet(index, columns=["kernel"])["kernel"]}


def _allowed(path: Path) -> set[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {fold(line.strip()) for line in lines if line.strip()}


@lru_cache(maxsize=1)
def _search(source: Source) -> Search:
    return Search(needles_of(source))
