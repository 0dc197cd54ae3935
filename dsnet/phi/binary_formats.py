"""Decoders of Parquet, Arrow, SQLite, NumPy, pickles (never executed), DICOM and PNG."""

import io
import pickletools
import re
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
from numpy.lib import format as npy_format
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dsnet.phi.text_formats import (
    Chunk,
    File,
    Integers,
    Numbers,
    Raw,
    Text,
    Values,
    as_text,
    leaves,
)

_ZLIB_START = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")
_PROBE_BYTES, _LARGEST_INFLATED = 1 << 12, 1 << 26
_SMALLEST_INFLATED = 4

_TEXT_VRS = frozenset(
    ("AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
)
_NUMBER_VRS = frozenset(("DS", "IS", "SV", "UV", "SL", "UL", "FD"))
_SIXTEEN_BITS = 16


def inflated(content: bytes) -> Iterator[bytes]:
    """Yield what zlib and gzip streams anywhere in `content` hold, such as chunks of HDF5."""
    view = memoryview(content)
    end = 0
    for match in _ZLIB_START.finditer(content):
        start = match.start()
        if start < end:
            continue
        probe = zlib.decompressobj(47)  # zlib or gzip, by its header
        try:
            probe.decompress(view[start : start + _PROBE_BYTES])
            stream = zlib.decompressobj(47)
            text = stream.decompress(view[start:], _LARGEST_INFLATED)
        except zlib.error:  # two bytes that look like a header, by chance
            continue
        if stream.eof and len(text) >= _SMALLEST_INFLATED:
            end = len(content) - len(stream.unused_data)
            yield text


def parquet_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the metadata, the names and the cells of each column, nested ones too."""
    file = pq.ParquetFile(io.BytesIO(content))
    for key, text in (file.metadata.metadata or {}).items():
        yield File(as_text(key), text)
    yield Values(file.schema_arrow.names)
    for name in file.schema_arrow.names:
        column = file.read(columns=[name]).column(name)
        yield from _cells(name, column.to_pylist())


def arrow_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the metadata, the names and the cells of an Arrow (Feather) file."""
    table = pa.ipc.open_file(content).read_all()
    for key, text in (table.schema.metadata or {}).items():
        yield File(as_text(key), text)
    yield Values(table.column_names)
    for name in table.column_names:
        yield from _cells(name, table.column(name).to_pylist())


def sqlite_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the schema and the cells of each table; a write-ahead log is a file of its own."""
    with closing(sqlite3.connect(":memory:")) as connection:
        # Bytes 18 and 19 ask for that log; a database in memory has none.
        connection.deserialize(content[:18] + b"\1\1" + content[20:])
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        for name, schema in connection.execute("SELECT name, sql FROM sqlite_master"):
            yield Text(f"{name}\n{schema}")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (name,) in tables.fetchall():
            quoted = name.replace('"', '""')
            rows = connection.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 - a table's name
            names = [column[0] for column in rows.description]
            for index, cells in enumerate(zip(*rows.fetchall(), strict=True)):
                yield from _cells(names[index], list(cells))


def _cells(name: str, cells: list[Any]) -> Iterator[Chunk]:
    texts, numbers = [], []
    for _, leaf in leaves(name, cells):
        if isinstance(leaf, bytes):
            yield File(name, leaf)
        elif isinstance(leaf, bool):
            continue
        elif isinstance(leaf, int | float):
            if leaf == leaf // 1:
                numbers.append(int(leaf))
        else:
            texts.append(str(leaf))
    yield Values(texts)
    yield Numbers(name, numbers)


def npy_header(head: bytes) -> tuple[int, np.dtype[Any]]:
    """Return where the data of a .npy file begin, and their type."""
    stream = io.BytesIO(head)
    major, _ = npy_format.read_magic(stream)
    read = npy_format.read_array_header_1_0 if major == 1 else npy_format.read_array_header_2_0
    _, _, dtype = read(stream)
    return stream.tell(), dtype


def npy_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the header, text, and numbers as they are: they are pixels and weights."""
    start, dtype = npy_header(content)
    yield Raw(content[:start])
    yield Values(list(dtype.names or ()))
    if dtype.hasobject:
        yield from pickle_chunks(content[start:])
        yield Raw(content[start:])
        return
    if is_integers(dtype):
        yield Integers(content[start:], dtype.str)
    else:
        yield Raw(content[start:])
    if dtype.kind in "USV":
        array = np.load(io.BytesIO(content), allow_pickle=False)
        for column in [array[name] for name in dtype.names or ()] or [array]:
            if column.dtype.kind in "US":
                yield Values([_string(cell) for cell in column.ravel().tolist()])
            elif column.dtype.kind in "iu":
                yield from _cells("", [column.ravel().tolist()])


def is_integers(dtype: np.dtype[Any]) -> bool:
    """Return whether an array's type is one of integers of two and more bytes."""
    return dtype.kind in "iu" and dtype.itemsize >= 2


def _string(cell: str | bytes) -> str:
    return as_text(cell) if isinstance(cell, bytes) else cell


def pickle_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the strings of a pickle, and of those that follow it in the same file, by opcode."""
    stream = io.BytesIO(content)
    texts: list[str] = []
    numbers: list[int] = []
    while stream.tell() < len(content):
        for _, argument, _ in pickletools.genops(stream):
            if isinstance(argument, str):
                texts.append(argument)
            elif isinstance(argument, bytes | bytearray):
                yield File("bytes", bytes(argument))
            elif isinstance(argument, int) and not isinstance(argument, bool):
                numbers.append(argument)
        if stream.tell() < len(content) and content[stream.tell()] != 0x80:
            break
    yield Values(texts)
    yield Numbers("", numbers)


def dicom_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield every element, nested and private ones too, and the pixels apart."""
    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax == DeflatedExplicitVRLittleEndian:
        # Group length (0002,0000) stands at byte 140 and counts from byte 144.
        start = 144 + int.from_bytes(content[140:144], "little")
        content = content[:start] + zlib.decompress(content[start:], -zlib.MAX_WBITS)
    pixels = dataset.get_item("PixelData") if "PixelData" in dataset else None
    stored = pixels.value if pixels is not None and isinstance(pixels.value, bytes) else b""
    at = content.rfind(stored) if stored else -1
    yield Raw(content[:at] if at >= 0 else content)
    yield Raw(content[at + len(stored) :] if at >= 0 else b"")
    native = syntax is not None and not syntax.is_compressed
    if native and dataset.get("BitsAllocated") == _SIXTEEN_BITS and len(stored) % 2 == 0:
        yield Integers(stored, "<i2")
    else:
        yield Raw(stored)
    texts: list[str] = []
    numbers: dict[str, list[int]] = {}
    binaries: list[bytes] = []
    for elements in (dataset.file_meta, dataset):
        _walk(elements, texts, numbers, binaries)
    yield Values(texts)
    for keyword, column in numbers.items():
        yield Numbers(keyword, column)
    for index, binary in enumerate(binaries):
        yield File(f"element{index}", binary)


def _walk(
    dataset: pydicom.Dataset,
    texts: list[str],
    numbers: dict[str, list[int]],
    binaries: list[bytes],
) -> None:
    for element in dataset:
        content = element.value
        values = content if isinstance(content, list | MultiValue) else [content]
        if isinstance(content, Sequence):
            for item in content:
                _walk(item, texts, numbers, binaries)
        elif isinstance(content, bytes):
            if element.keyword != "PixelData":
                binaries.append(content)
        elif element.VR in _TEXT_VRS:
            texts.extend(str(value) for value in values)
        elif element.VR in _NUMBER_VRS:
            whole = (value for value in values if isinstance(value, int | float))
            integers = [int(value) for value in whole if value == value // 1]
            numbers.setdefault(element.keyword, []).extend(integers)


def png_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the chunks tEXt, zTXt, iTXt and eXIf (PNG, third edition, 11.3.3 and 11.3.4)."""
    offset = 8
    while offset + 8 <= len(content):
        length, chunk = struct.unpack(">I4s", content[offset : offset + 8])
        body = content[offset + 8 : offset + 8 + length]
        offset += 12 + length
        if chunk in (b"tEXt", b"eXIf"):
            yield Text(as_text(body.replace(b"\0", b"\n")))
        elif chunk == b"zTXt":
            yield Text(as_text(zlib.decompress(body.partition(b"\0")[2][1:])))
        elif chunk == b"iTXt":
            keyword, _, rest = body.partition(b"\0")
            _, translated, text = rest[2:].split(b"\0", 2)
            text = zlib.decompress(text) if rest[:1] == b"\1" else text
            yield Text(b"\n".join((keyword, translated, text)).decode("utf-8", "replace"))
