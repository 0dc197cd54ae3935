"""Decoders of running text, CSV and JSON, and the chunks that every decoder yields."""

import base64
import csv
import html
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

_DATA_URI = re.compile(r"data:[\w/+.;=-]*;base64,([A-Za-z0-9+/=]+)")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_INTEGER = re.compile(r"[-+]?\d+(?:\.0*)?")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf|-inf|", re.I)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")


@dataclass(frozen=True)
class Text:
    """Running text; `typed` where numbers in it are yielded as `Numbers`, too."""

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


Chunk = Text | Values | Numbers | File


def decoded_name(relative: str) -> str:
    """Return the text that a path encodes in base64, as Snakemake's records do, or "".

    A long name is split over folders that begin with ``@``.
    """
    *folders, name = relative.split("/")
    while folders and folders[-1].startswith("@"):
        name = folders.pop()[1:] + name
    if not _BASE64.fullmatch(name):
        return ""
    try:
        return base64.b64decode(name + "=" * (-len(name) % 4), altchars=b"-_").decode("utf-8")
    except ValueError:
        return ""


def as_text(content: bytes) -> str:
    """Return bytes as text: UTF-8, UTF-16 with its mark, else Latin-1."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def text_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield a text (HTML, SVG, logs, ...) as it is and, where that differs, decoded."""
    text = as_text(content)
    yield Text(text)
    yield from _decoded(text)


def _decoded(text: str) -> Iterator[Chunk]:
    """Yield what a text encodes: entities, escapes, embedded files."""
    if "base64," in text:
        for number, code in enumerate(_DATA_URI.findall(text)):
            yield File(f"embedded{number}", base64.b64decode(code + "=" * (-len(code) % 4)))
        text = _DATA_URI.sub(" ", text)
    plain = html.unescape(text) if "&" in text else text
    plain = unquote(plain) if "%" in plain else plain
    plain = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), plain)
    if plain != text:
        yield Text(plain)


def csv_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield a table whole and by column."""
    text = as_text(content)
    yield Text(text, typed=True)
    header = text.partition("\n")[0]
    rows = list(csv.reader(io.StringIO(text), delimiter=max(",;\t|", key=header.count)))
    width = max(map(len, rows), default=0)
    for index in range(width):
        cells = [row[index].strip() for row in rows if len(row) > index]
        yield from _column(cells[0], cells[1:])


def _column(name: str, cells: list[str]) -> Iterator[Chunk]:
    yield Values([name])
    if all(_NUMBER.fullmatch(cell) for cell in cells):
        whole = [cell for cell in cells if _INTEGER.fullmatch(cell)]
        # A number with leading zeros is a name: search it as text, too.
        yield Values([cell for cell in whole if cell[:1] == "0" and len(cell) > 1])
        yield Numbers(name, [int(cell.partition(".")[0]) for cell in whole])
    else:
        yield Values(cells)


def json_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield a document whole, its strings (base64 decoded too) and its numbers by key."""
    text = as_text(content)
    try:
        nodes = list(leaves("", json.loads(text)))
    except ValueError:
        yield from text_chunks(content)
        return
    yield Text(text, typed=True)
    texts = [leaf for _, leaf in nodes if isinstance(leaf, str)]
    yield Values(texts)
    encoded = [decoded_name(leaf) for leaf in texts if len(leaf) < 4096]
    yield Values([leaf for leaf in encoded if leaf])
    yield from _decoded("\n".join(texts))
    by_name: dict[str, list[int]] = {}
    for name, leaf in nodes:
        if isinstance(leaf, int | float) and not isinstance(leaf, bool) and leaf == leaf // 1:
            by_name.setdefault(name, []).append(int(leaf))
    for name, numbers in by_name.items():
        yield Numbers(name, numbers)


def leaves(name: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Yield each leaf of nested lists and objects with its key, and each key as a leaf."""
    if isinstance(node, dict):
        for key, child in node.items():
            yield "", str(key)
            # The name of a column says more than the number of a row.
            yield from leaves(name if str(key).isdigit() else str(key), child)
    elif isinstance(node, list | tuple):
        for child in node:
            yield from leaves(name, child)
    elif node is not None:
        yield name, node
