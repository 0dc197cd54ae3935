"""Searching one file, and the files within it, for the patterns."""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydicom.datadict import dictionary_description, keyword_dict

from dsnet import schemas
from dsnet.dicom.reader import quiet
from dsnet.phi.containers import (
    AS_TEXT,
    COVERED,
    DAMAGES,
    DECODERS,
    HEAD_BYTES,
    inflated,
    is_integers,
    kind_of,
    npy_header,
)
from dsnet.phi.matching import Matcher
from dsnet.phi.patterns import (
    TYPED_DIGITS,
    WHOLE_DIGITS,
    WORD,
    IdentifyingValue,
    Match,
    Vocabulary,
    fold,
    make_patterns,
)
from dsnet.phi.text_formats import (
    Chunk,
    File,
    Integers,
    Numbers,
    Raw,
    Text,
    Values,
    decoded_chunks,
    decoded_name,
    printable_strings,
)

RANGE_BYTES = 1 << 26
"""A larger file of raw bytes is searched in ranges of this size, so that processes share it."""

_BLOCK_BYTES, _OVERLAP_BYTES = 1 << 24, 1 << 12
_LARGEST_DECODED = 1 << 30
_DEEPEST = 4
_PATIENT_FILE = re.compile(r"(?:^|/)deidentified/(P-[0-9a-f]{16})/")

_TEMPLATES = {".html", ".j2", ".js", ".css", ".csv"}
_INVENTED = "phantom"
"""The package whose names stand for patients' names, and so are no vocabulary."""


class Source(NamedTuple):
    """Where the patterns come from; small enough to be sent to each process.

    Attributes
    ----------
    identifying : Path
        `dsnet.schemas.IDENTIFYING`.
    dropped : Path
        The same, of what de-identification removed; need not exist.
    published : Path
        `dsnet.schemas.INDEX`, whose kernels are published; need not exist.
    allowed : Path
        Text file of values that the user allows, one a line; need not exist.
    others : tuple of Source
        The same of the external cohorts, whose values are searched for, too.
    """

    identifying: Path
    dropped: Path
    published: Path
    allowed: Path
    others: tuple["Source", ...] = ()

    def each(self) -> tuple["Source", ...]:
        """Return the sources, this one first, each without the others."""
        return self._replace(others=()), *self.others


class Hit(NamedTuple):
    """An identifying value in a file; `container` is "name" for the file's path."""

    container: str
    kind: str
    value: str
    suspect: bool


@dataclass
class SearchResult:
    """What was searched, and the hits.

    Attributes
    ----------
    files, bytes : Counter
        By container; those within another count as "zip > png".
    hits : Counter
        How often each occurs, suspects included.
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


def search_file(path: Path, relative: str, source: Source, start: int = 0) -> SearchResult:
    """Return the hits in one file and in its path, or in one range of a large file.

    Parameters
    ----------
    path : Path
    relative : str
        Below the folder that is searched.
    source : Source
    start : int
        First byte of the range, one of `ranges`.
    """
    result = SearchResult()
    own = _PATIENT_FILE.search("/" + relative)
    try:
        with path.open("rb") as stream:
            status = path.stat()
            search = _FileSearch(
                matcher_of(source), result, own[1] if own else "", _days(status.st_mtime)
            )
            if start == 0:
                name = decoded_name(relative)
                search.record("name", search.matcher.path(relative, name))
            kind = kind_of(relative.rpartition("/")[2], stream.read(HEAD_BYTES))
            stream.seek(start)
            if _is_raw(kind, status.st_size):
                search.range_of(path, kind, stream.read(RANGE_BYTES + _OVERLAP_BYTES), start)
            else:
                with quiet():
                    search.container(relative.rpartition("/")[2], stream.read(), "", 0)
    except FileNotFoundError:
        # Snakemake's records come and go while it runs.
        result.gone += 1
    return result


def ranges(path: Path) -> list[tuple[int, int]]:
    """Return first byte and length of the ranges in which a file is searched.

    There is one, except for large files that are searched as raw bytes.
    """
    try:
        size = path.stat().st_size
        if size > RANGE_BYTES:
            with path.open("rb") as stream:
                kind = kind_of(path.name, stream.read(HEAD_BYTES))
            if _is_raw(kind, size):
                starts = range(0, size, RANGE_BYTES)
                return [(start, min(RANGE_BYTES, size - start)) for start in starts]
    except FileNotFoundError:  # counted when it is to be searched
        size = 0
    return [(0, size)]


def _is_raw(kind: str, size: int) -> bool:
    """Return whether a file is searched in ranges, without its structure."""
    return size > RANGE_BYTES and (kind in ("binary", "npy") or size > _LARGEST_DECODED)


def _days(mtime: float) -> frozenset[str]:
    """Return the day of a file's last change, here and in UTC: programs write it everywhere."""
    moments = (datetime.fromtimestamp(mtime), datetime.fromtimestamp(mtime, UTC))
    return frozenset(moment.date().isoformat() for moment in moments)


@dataclass
class _FileSearch:
    matcher: Matcher
    result: SearchResult
    patient: str
    days: frozenset[str]

    def record(self, where: str, matches: Iterable[Match]) -> None:
        for value, suspect in matches:
            written = value.form == "date" and value.value in self.days
            self.result.hits[Hit(where, value.kind, value.value, suspect or written)] += 1

    def range_of(self, path: Path, kind: str, content: bytes, start: int) -> None:
        """Search one range of a file of raw bytes or of an array."""
        if start == 0:
            self.result.files[kind] += 1
            if kind not in ("binary", "npy"):
                self.result.damaged[kind] += 1
        self.result.bytes[kind] += min(len(content), RANGE_BYTES)
        if kind == "npy":
            with path.open("rb") as stream:
                begin, dtype = npy_header(stream.read(1 << 16))
            if is_integers(dtype):
                # Headers are padded to 64 bytes, so that ranges begin at whole integers.
                inside = max(0, begin - start)
                self.chunk(Raw(content[:inside]), kind, 0)
                self.chunk(Integers(content[inside:], dtype.str), kind, 0)
                return
        self.chunk(Raw(content), kind, 0)

    def container(self, name: str, content: bytes, outside: str, depth: int) -> None:
        kind = kind_of(name, content[:HEAD_BYTES])
        where = f"{outside} > {kind}" if outside else kind
        self.result.files[where] += 1
        self.result.bytes[where] += len(content)
        if kind not in COVERED + AS_TEXT:
            self.chunk(Raw(content), where, depth)
        elif kind in AS_TEXT and not content.isascii():
            self.record(where, self.matcher.encoded(content))
        for chunk in self._contents(kind, content, where):
            self.chunk(chunk, where, depth)

    def _contents(self, kind: str, content: bytes, where: str) -> Iterator[Chunk]:
        try:
            yield from DECODERS[kind](content)
        except DAMAGES:
            self.result.damaged[where] += 1
            if kind in COVERED:
                yield Raw(content)

    def chunk(self, chunk: Chunk, where: str, depth: int) -> None:
        match chunk:
            case File(name, content):
                self.record(where, self.matcher.values(name.split("/")))
                if depth < _DEEPEST:
                    self.container(name, content, where, depth + 1)
                else:
                    self.result.damaged[f"{where}, deeper"] += 1
                    self._raw(content, where)
            case Text(text, typed):
                digits = TYPED_DIGITS if typed else WHOLE_DIGITS
                matches = self.matcher.text(text, patient=self.patient, min_digits=digits)
                self.record(where, matches)
                self._decoded(text, where, depth, typed=typed)
            case Values(texts):
                self.record(where, self.matcher.values(texts, patient=self.patient))
                self._decoded("\n".join(set(texts)), where, depth, typed=False)
            case Numbers(name, numbers):
                self.record(where, self.matcher.numbers(name, numbers))
            case Integers(content, dtype):
                self._integers(content, np.dtype(dtype), where)
            case Raw(content):
                texts = self._raw(content, where)
                self._decoded("\n".join(texts), where, depth, typed=True)
                for stream in inflated(content) if depth < _DEEPEST else ():
                    self.chunk(File("stream", stream), where, depth)

    def _integers(self, content: bytes, dtype: np.dtype[np.integer], where: str) -> None:
        for start in range(0, len(content) - dtype.itemsize + 1, _BLOCK_BYTES):
            block = content[start : start + _BLOCK_BYTES + _OVERLAP_BYTES]
            count = len(block) // dtype.itemsize
            self.record(where, self.matcher.integers(np.frombuffer(block, dtype, count)))

    def _raw(self, content: bytes, where: str) -> list[str]:
        """Search bytes block by block and return their printable strings."""
        texts = []
        for start in range(0, len(content), _BLOCK_BYTES):
            block = content[start : start + _BLOCK_BYTES + _OVERLAP_BYTES]
            texts.append(printable_strings(block))
            self.record(where, self.matcher.strings(texts[-1], patient=self.patient))
            self.record(where, self.matcher.encoded(block))
        return texts

    def _decoded(self, text: str, where: str, depth: int, *, typed: bool) -> None:
        if depth < _DEEPEST:
            for chunk in decoded_chunks(text, typed=typed):
                self.chunk(chunk, f"{where} > decoded", depth + 1)


def matcher_of(source: Source) -> Matcher:
    """Return what matches the patterns, read again if one of their private files has changed."""
    files = (path for one in source.each() for path in one[:-1])
    return _read(source, tuple(map(_version, files)))


@lru_cache(maxsize=1)
def _read(source: Source, versions: tuple[tuple[int, ...], ...]) -> Matcher:
    del versions
    each = source.each()
    patterns = make_patterns(
        _values([one.identifying for one in each]),
        dropped=_values([one.dropped for one in each if one.dropped.exists()]),
        vocabulary=program_vocabulary(),
        published=set().union(*(_published(one.published) for one in each)),
        allowed=set().union(*(_allowed(one.allowed) for one in each)),
    )
    return Matcher(patterns)


def _values(paths: Sequence[Path]) -> list[IdentifyingValue]:
    if not paths:
        return []
    table = pd.concat([schemas.read(schemas.IDENTIFYING, path) for path in paths])
    grouped = table.groupby(["value", "kind", "form"], sort=True)["patient_key"].agg(frozenset)
    rows = grouped.reset_index().itertuples(index=False, name=None)
    return [IdentifyingValue(*row) for row in rows]


def _published(index: Path) -> set[str]:
    if not index.exists():
        return set()
    return {fold(kernel) for kernel in pd.read_parquet(index, columns=["kernel"])["kernel"]}


def _allowed(path: Path) -> set[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {fold(line.strip()) for line in lines if line.strip()}


def _version(path: Path) -> tuple[int, ...]:
    """Return what differs when a file is written again; () if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1)
def program_vocabulary() -> Vocabulary:
    """Return what stands in outputs because the program writes it.

    Words are the names and string literals of its modules, the words of its templates, and DICOM's
    data dictionary. Comments and docstrings do not count: they hold examples.
    """
    package = Path(__file__).resolve().parents[1]
    texts = [dictionary_description(tag) for tag in keyword_dict.values()]
    values: list[str] = []
    for path in package.rglob("*"):
        if path.relative_to(package).parts[0] == _INVENTED:
            continue
        if path.suffix == ".py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            literals, keys, names = _strings(tree)
            values += [*literals, *keys]
            texts += [*literals, *names]
        elif path.suffix in _TEMPLATES:
            texts.append(path.read_text(encoding="utf-8"))
    return Vocabulary(
        frozenset(word for text in texts for word in WORD.findall(text.lower())),
        frozenset(" ".join(WORD.findall(value.lower())) for value in values),
    )


def _strings(tree: ast.Module) -> tuple[list[str], list[str], list[str]]:
    """Return string literals except docstrings; names that become columns and keys; all names.

    Columns and keys are the names of fields, parameters and keyword arguments.
    """
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    literals, keys, names = list[str](), list[str](), list[str]()
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                literals.append(text)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.keyword(arg=str(name)):
                keys.append(name)
            case ast.arg(arg=name):
                keys.append(name)
                names.append(name)
            case ast.Name(id=name) | ast.Attribute(attr=name):
                names.append(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.append(name)
    return literals, keys, names
