"""Searching one file and the files within it: containers are recognised by their first bytes."""

import bz2
import gzip
import io
import lzma
import re
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pandas as pd

from dsnet import schemas
from dsnet.dicom.reader import quiet
from dsnet.phi.binary_formats import (
    dicom_chunks,
    npy_chunks,
    parquet_chunks,
    pdf_chunks,
    pickle_chunks,
    png_chunks,
    sqlite_chunks,
)
from dsnet.phi.matching import Matcher
from dsnet.phi.patterns import (
    TYPED_DIGITS,
    WHOLE_DIGITS,
    IdentifyingValue,
    Patterns,
    fold,
    make_patterns,
    program_words,
)
from dsnet.phi.text_formats import (
    Chunk,
    File,
    Numbers,
    Text,
    Values,
    as_text,
    csv_chunks,
    decoded_name,
    json_chunks,
    text_chunks,
)

Decoder = Callable[[bytes], Iterator[Chunk]]

DAMAGES = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    lzma.LZMAError,
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
"""What the libraries raise for a damaged container; its raw bytes are searched all the same."""

_AS_TEXT = ("text", "csv", "json")
_BLOCK_BYTES, _OVERLAP_BYTES = 1 << 24, 1 << 12
_LARGEST_DECODED = 1 << 30
_HEAD_BYTES = 1024
_DEEPEST = 4
_PATIENT_FILE = re.compile(r"(?:^|/)deidentified/(P-[0-9a-f]{16})/")


class Source(NamedTuple):
    """Where the patterns come from; small enough to be sent to each process.

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
    """An identifying value in a file; `container` is "name" for the file's path."""

    container: str
    kind: str
    value: str


@dataclass
class SearchResult:
    """What was searched, and the hits.

    Attributes
    ----------
    files, bytes : Counter
        By container; those within another count as "zip > png".
    hits : Counter
        How often each occurs.
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


def search_file(path: Path, relative: str, source: Source) -> SearchResult:
    """Return the hits in one file and in its path.

    Parameters
    ----------
    path : Path
    relative : str
        Below the folder that is searched.
    source : Source
    """
    matcher, result = _matcher(source), SearchResult()
    own = _PATIENT_FILE.search("/" + relative)
    search = _FileSearch(matcher, result, own[1] if own else "")
    names = relative.split("/")
    search.record("name", matcher.values([*names, decoded_name(relative)]))
    try:
        with path.open("rb") as stream:
            _search_stream(search, names[-1], stream, path.stat().st_size)
    except FileNotFoundError:
        # Snakemake's records come and go while it runs.
        result.gone += 1
    return result


def _search_stream(search: "_FileSearch", name: str, stream: BinaryIO, size: int) -> None:
    kind = kind_of(name, stream.read(_HEAD_BYTES))
    stream.seek(0)
    if size <= _LARGEST_DECODED and kind != "binary":
        with quiet():
            search.container(name, stream.read(), "", 0)
        return
    if kind != "binary":
        search.result.damaged[kind] += 1
    search.result.files[kind] += 1
    search.result.bytes[kind] += size
    tail = b""
    while block := stream.read(_BLOCK_BYTES):
        search.record(kind, search.matcher.raw(tail + block, patient=search.patient))
        tail = block[-_OVERLAP_BYTES:]


@dataclass
class _FileSearch:
    matcher: Matcher
    result: SearchResult
    patient: str

    def record(self, where: str, matches: Iterator[IdentifyingValue]) -> None:
        for match in matches:
            self.result.hits[Hit(where, match.kind, match.value)] += 1

    def container(self, name: str, content: bytes, outside: str, depth: int) -> None:
        kind = kind_of(name, content[:_HEAD_BYTES])
        where = f"{outside} > {kind}" if outside else kind
        self.result.files[where] += 1
        self.result.bytes[where] += len(content)
        if kind not in _AS_TEXT:
            for start in range(0, len(content), _BLOCK_BYTES):
                block = content[start : start + _BLOCK_BYTES + _OVERLAP_BYTES]
                self.record(where, self.matcher.raw(block, patient=self.patient))
        try:
            for chunk in _DECODERS[kind](content):
                if isinstance(chunk, File):
                    self.record(where, self.matcher.values(chunk.name.split("/")))
                    if depth < _DEEPEST:
                        self.container(chunk.name, chunk.content, where, depth + 1)
                    else:
                        self.result.damaged[f"{where}, deeper"] += 1
                        self.record(where, self.matcher.raw(chunk.content, patient=self.patient))
                else:
                    self.record(where, self._matches(chunk))
        except DAMAGES:
            self.result.damaged[where] += 1

    def _matches(self, chunk: Text | Values | Numbers) -> Iterator[IdentifyingValue]:
        if isinstance(chunk, Text):
            digits = TYPED_DIGITS if chunk.typed else WHOLE_DIGITS
            return self.matcher.text(chunk.text, patient=self.patient, min_digits=digits)
        if isinstance(chunk, Values):
            return self.matcher.values(chunk.texts, patient=self.patient)
        return self.matcher.numbers(chunk.name, chunk.numbers)


def read_patterns(source: Source) -> Patterns:
    """Return what to search for, from the private folder."""
    table = schemas.read(schemas.IDENTIFYING, Path(source.values))
    grouped = table.groupby(["value", "kind", "form"], sort=True)["patient_key"].agg(frozenset)
    values = grouped.reset_index().itertuples(index=False, name=None)
    return make_patterns(
        [IdentifyingValue(*row) for row in values],
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
def _matcher(source: Source) -> Matcher:
    return Matcher(read_patterns(source))


def kind_of(name: str, head: bytes) -> str:
    """Return the container of a file by its first bytes, "binary" where none is recognised."""
    for kind, matches in _MAGIC:
        if matches(head):
            return kind
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    if b"\0" in head and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return "binary"
    if _control_bytes(head):
        return "binary"
    return {"csv": "csv", "tsv": "csv", "json": "json", "ipynb": "json"}.get(
        suffix, "json" if head.lstrip()[:1] in (b"{", b"[") else "text"
    )


def _control_bytes(head: bytes) -> bool:
    return sum(byte < 9 or 13 < byte < 27 for byte in head) > len(head) // 100


def _zip(content: bytes) -> Iterator[Chunk]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        yield Text(as_text(archive.comment))
        for entry in archive.infolist():
            yield Text(as_text(entry.comment))
            yield File(entry.filename, archive.read(entry))


def _tar(content: bytes) -> Iterator[Chunk]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for entry in archive:
            stream = archive.extractfile(entry) if entry.isfile() else None
            yield File(entry.name, stream.read() if stream else b"")


def _compressed(decompress: Callable[[bytes], bytes]) -> Decoder:
    def decode(content: bytes) -> Iterator[Chunk]:
        yield File("content", decompress(content))

    return decode


def _nothing(content: bytes) -> Iterator[Chunk]:
    del content
    yield from ()


_MAGIC: list[tuple[str, Callable[[bytes], bool]]] = [
    ("parquet", lambda head: head.startswith(b"PAR1")),
    ("png", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    ("npy", lambda head: head.startswith(b"\x93NUMPY")),
    ("zip", lambda head: head.startswith((b"PK\x03\x04", b"PK\x05\x06"))),
    ("gzip", lambda head: head.startswith(b"\x1f\x8b")),
    ("bzip2", lambda head: head.startswith(b"BZh")),
    ("xz", lambda head: head.startswith(b"\xfd7zXZ\0")),
    ("sqlite", lambda head: head.startswith(b"SQLite format 3\0")),
    ("pdf", lambda head: head.startswith(b"%PDF-")),
    ("dicom", lambda head: head[128:132] == b"DICM"),
    ("tar", lambda head: head[257:262] == b"ustar"),
    ("pickle", lambda head: len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5),
]

_DECODERS: dict[str, Decoder] = {
    "text": text_chunks,
    "csv": csv_chunks,
    "json": json_chunks,
    "parquet": parquet_chunks,
    "dicom": dicom_chunks,
    "png": png_chunks,
    "npy": npy_chunks,
    "zip": _zip,
    "tar": _tar,
    "pickle": pickle_chunks,
    "sqlite": sqlite_chunks,
    "pdf": pdf_chunks,
    "gzip": _compressed(gzip.decompress),
    "bzip2": _compressed(bz2.decompress),
    "xz": _compressed(lzma.decompress),
    "binary": _nothing,
}
