"""Decoders of running text, CSV, JSON and printable strings, and the chunks that decoders yield."""

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

import numpy as np
from numpy.typing import NDArray

_DATA_URI = re.compile(r"data:[\w/+.;=-]*;base64,([A-Za-z0-9+/=]+)")
_UNICODE_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_BYTE_ESCAPES = re.compile(r"(?:\\(?:x[0-9a-fA-F]{2}|[0-3][0-7]{2}))+")
_BYTE_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})|\\([0-3][0-7]{2})")
"""Bytes as Python, C and git write them."""

_QUOTED = re.compile(r"(?:=[0-9A-F]{2})+")
"""Bytes in quoted-printable (RFC 2045)."""

_WRAPPED = re.compile(r"([A-Za-z0-9+/]{60,76})\r?\n[ \t]*(?=[A-Za-z0-9+/])")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0x)?((?:[0-9a-fA-F]{2}){4,})(?![0-9A-Za-z])")
_SPACED_HEX = re.compile(
    r"(?<!\w)(?:0x)?[0-9a-fA-F]{2}(?:[ :,-]{1,2}(?:0x)?[0-9a-fA-F]{2}){3,}(?!\w)"
)
_SHORTEST_ENCODED, _MOST_CUTS = 4, 12
"""Bytes of the shortest encoded text that is looked at."""

_COMPRESSED = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
_ZLIB = tuple(bytes((0x78, level)) for level in (0x01, 0x5E, 0x9C, 0xDA))

_INTEGER = re.compile(r"[-+]?\d+(?:\.0*)?")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf|-inf|", re.I)

RAW_SHORTEST = 6
"""Characters of a printable string among raw bytes: shorter ones occur by chance."""


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
class Raw:
    """Bytes without a structure."""

    content: bytes


@dataclass(frozen=True)
class Integers:
    """An array of integers of at least two bytes: pixels, masks, indices."""

    content: bytes
    dtype: str


@dataclass(frozen=True)
class File:
    """A file within a file."""

    name: str
    content: bytes


Chunk = Text | Values | Numbers | Raw | Integers | File


def decoded_name(relative: str) -> str:
    """Return the text that a path encodes in base64, as Snakemake's records do, or "".

    A long name is split over folders that begin with ``@``.
    """
    *folders, name = relative.split("/")
    while folders and folders[-1].startswith("@"):
        name = folders.pop()[1:] + name
    return _utf8(_from_base64(name)) if _BASE64.fullmatch(name) else ""


def as_text(content: bytes) -> str:
    """Return bytes as text: UTF-8, UTF-16 or UTF-32 with its mark, else Latin-1."""
    if content[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return content.decode("utf-32", "replace")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def text_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield a text (HTML, SVG, logs, ...)."""
    yield Text(as_text(content))


def decoded_chunks(text: str, *, typed: bool = False) -> Iterator[Chunk]:
    """Yield what a text encodes: entities, escapes, base64, hexadecimal and embedded files.

    Parameters
    ----------
    text : str
    typed : bool
        As for `Text`; of the text that is yielded.
    """
    if "base64," in text:
        for number, code in enumerate(_DATA_URI.findall(text)):
            yield File(f"embedded{number}", _from_base64(code))
        text = _DATA_URI.sub(" ", text)
    if lines := _unescaped_lines(text):
        yield Text("\n".join(lines), typed=typed)
    texts, others = [], []
    for content in _encoded_bytes(text):
        if content.startswith(_COMPRESSED) or content.startswith(_ZLIB):
            yield File("encoded", content)
        if printable := _utf8(content):
            texts.append(printable)
        else:
            others.append(content)
    if texts:
        yield Values(texts)
    if others:
        yield Raw(b"\0\0".join(others))


def _unescaped_lines(text: str) -> list[str]:
    """Return the lines that read differently without entities and escapes."""
    lines = []
    for line in text.split("\n"):
        plain = html.unescape(line) if "&" in line else line
        plain = unquote(plain) if "%" in plain else plain
        if "\\" in plain:
            plain = _UNICODE_ESCAPE.sub(lambda match: chr(int(match[1], 16)), plain)
            plain = _BYTE_ESCAPES.sub(_unescaped, plain)
        if plain != line:
            lines.append(plain)
        if "=" in line and (quoted := _QUOTED.sub(_unquoted, line)) != line:
            lines.append(quoted)
    return lines


def _unescaped(escapes: re.Match[str]) -> str:
    codes = [
        int(octal, 8) if octal else int(hexadecimal, 16)
        for hexadecimal, octal in _BYTE_ESCAPE.findall(escapes[0])
    ]
    return as_text(bytes(codes))


def _unquoted(codes: re.Match[str]) -> str:
    return as_text(bytes.fromhex(codes[0].replace("=", "")))


def _encoded_bytes(text: str) -> Iterator[bytes]:
    """Yield the bytes that the words of a text are in base64 and in hexadecimal, each once."""
    words = set(_BASE64.findall(_WRAPPED.sub(r"\1", text)))
    for word in words:
        # A path may stand before the code, and after it, separated by letters of the code.
        cuts = [0, *(match.end() for match in re.finditer(r"[/_+-]", word))][:_MOST_CUTS]
        for first, start in enumerate(cuts):
            for end in (*(cut - 1 for cut in cuts[first + 1 :]), len(word)):
                if end - start >= 2 * _SHORTEST_ENCODED:
                    yield _from_base64(word[start:end])
    for code in {*_HEX.findall(text), *_SPACED_HEX.findall(text)}:
        digits = re.sub(r"0x|[^0-9a-fA-F]", "", code)
        yield bytes.fromhex(digits)


def _from_base64(code: str) -> bytes:
    """Return the bytes of a code in either alphabet, with or without padding; b"" for none."""
    code = code.rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        return base64.b64decode(code + "=" * (-len(code) % 4))
    except ValueError:
        return b""


def _utf8(content: bytes) -> str:
    """Return printable text, or "" where bytes are none."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return text if len(text.strip()) > 1 and is_printable(text) else ""


def is_printable(text: str) -> bool:
    """Return whether a text has no control characters but tabs and line ends."""
    return all(letter.isprintable() or letter in "\t\r\n" for letter in text)


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
    """Yield a document whole, its strings and its numbers by key."""
    text = as_text(content)
    try:
        nodes = list(leaves("", json.loads(text)))
    except ValueError:
        yield from text_chunks(content)
        return
    yield Text(text, typed=True)
    yield Values([leaf for _, leaf in nodes if isinstance(leaf, str)])
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


def printable_strings(content: bytes) -> str:
    """Return every sequence of six and more printable characters, one a line.

    As the program ``strings`` does, but in UTF-16 and UTF-32 as well: sequences are of ASCII, or
    of the Latin-1 range in UTF-16 and UTF-32 of either byte order and any alignment.
    """
    strings = [*ascii_strings(content)]
    for bytes_each in (2, 4):
        strings += _wide_strings(content, bytes_each)
    return "\n".join(strings)


def ascii_strings(content: bytes) -> Iterator[str]:
    """Yield every sequence of six and more printable characters of ASCII."""
    for start, end in _spans(np.frombuffer(content, np.uint8) - np.uint8(0x20) < 0x5F):
        yield content[start:end].decode("ascii")


def _wide_strings(content: bytes, bytes_each: int) -> Iterator[str]:
    for offset in range(min(bytes_each, len(content))):
        count = (len(content) - offset) // bytes_each
        units = np.frombuffer(content, f"<u{bytes_each}", count, offset)
        kind = units.dtype.type
        latin = (units - kind(0x20) < kind(0x5F)) | (units - kind(0xA0) < kind(0x60))
        for start, end in _spans(latin, shortest=RAW_SHORTEST - 1):
            first, last = offset + bytes_each * start, offset + bytes_each * end
            text = content[first:last:bytes_each].decode("latin-1")
            if len(text) >= RAW_SHORTEST:
                yield text
            # Big-endian text reads as little-endian from its last byte on, except for its
            # last character, which need not be followed by a zero.
            yield text + content[last : last + 1].decode("latin-1")


def _spans(mask: NDArray[np.bool_], shortest: int = RAW_SHORTEST) -> Iterator[tuple[int, int]]:
    """Yield first and last (excluded) index of each long sequence of True."""
    if len(mask) < shortest:
        return
    begins = mask
    length = 1
    while length < shortest:  # doubled, so that six positions take three comparisons
        step = min(length, shortest - length)
        begins = begins[: len(begins) - step] & begins[step:]
        length += step
    indices = np.flatnonzero(begins)
    if not indices.size:
        return
    cuts = np.flatnonzero(np.diff(indices) > 1)
    starts = indices[np.r_[0, cuts + 1]]
    ends = indices[np.r_[cuts, indices.size - 1]] + shortest
    yield from zip(starts.tolist(), ends.tolist(), strict=True)
