"""Decoders of Parquet, SQLite, NumPy, pickles (never executed), DICOM, PNG and PDF."""

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
import pyarrow.parquet as pq
import pydicom
from numpy.lib import format as npy_format
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from dsnet.phi.text_formats import Chunk, File, Numbers, Text, Values, as_text, leaves

_PDF_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.S)
_TEXT_VRS = frozenset(
    ("AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
)


def parquet_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the metadata, the names and the cells of each column, nested ones too."""
    file = pq.ParquetFile(io.BytesIO(content))
    for key, text in (file.metadata.metadata or {}).items():
        yield File(as_text(key), text)
    yield Values(file.schema_arrow.names)
    for name in file.schema_arrow.names:
        column = file.read(columns=[name]).column(name)
        yield from _cells(name, column.to_pylist())


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


def npy_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield field names and text; numbers are pixels and weights, searched as raw bytes alone."""
    stream = io.BytesIO(content)
    major, _ = npy_format.read_magic(stream)
    read = npy_format.read_array_header_1_0 if major == 1 else npy_format.read_array_header_2_0
    _, _, dtype = read(stream)
    yield Values(list(dtype.names or ()))
    if dtype.hasobject:
        yield from pickle_chunks(content[stream.tell() :])
    else:
        array = np.load(io.BytesIO(content), allow_pickle=False)
        for column in [array[name] for name in dtype.names or ()] or [array]:
            if column.dtype.kind in "US":
                yield Values([_string(cell) for cell in column.ravel().tolist()])


def _string(cell: str | bytes) -> str:
    return as_text(cell) if isinstance(cell, bytes) else cell


def pickle_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the strings of a pickle, and of those that follow it in the same file, by opcode."""
    stream = io.BytesIO(content)
    texts: list[str] = []
    while stream.tell() < len(content):
        for _, argument, _ in pickletools.genops(stream):
            if isinstance(argument, str):
                texts.append(argument)
            elif isinstance(argument, bytes | bytearray):
                yield File("bytes", bytes(argument))
        if stream.tell() < len(content) and content[stream.tell()] != 0x80:
            break
    yield Values(texts)


def dicom_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the text of every element, nested and private ones too, and binary ones as files."""
    texts: list[str] = []
    binaries: list[bytes] = []
    dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, force=True)
    for elements in (dataset.file_meta, dataset):
        _walk(elements, texts, binaries)
    yield Values(texts)
    for index, binary in enumerate(binaries):
        yield File(f"element{index}", binary)


def _walk(dataset: pydicom.Dataset, texts: list[str], binaries: list[bytes]) -> None:
    for element in dataset:
        content = element.value
        if isinstance(content, Sequence):
            for item in content:
                _walk(item, texts, binaries)
        elif isinstance(content, bytes):
            binaries.append(content)
        elif element.VR in _TEXT_VRS:
            values = content if isinstance(content, list | MultiValue) else [content]
            texts.extend(str(value) for value in values)


def png_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the chunks tEXt, zTXt, iTXt and eXIf (PNG, third edition, 11.3.3 and 11.3.4)."""
    offset = 8
    while offset + 8 <= len(content):
        length, chunk = struct.unpack(">I4s", content[offset : offset + 8])
        body = content[offset + 8 : offset + 8 + length]
        offset += 12 + length
        if chunk in (b"tEXt", b"eXIf"):
            yield Text(body.replace(b"\0", b"\n").decode("latin-1"))
        elif chunk == b"zTXt":
            yield Text(zlib.decompress(body.partition(b"\0")[2][1:]).decode("latin-1"))
        elif chunk == b"iTXt":
            keyword, _, rest = body.partition(b"\0")
            _, translated, text = rest[2:].split(b"\0", 2)
            text = zlib.decompress(text) if rest[:1] == b"\1" else text
            yield Text(b"\n".join((keyword, translated, text)).decode("utf-8", "replace"))


def pdf_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield every stream that is compressed with deflate."""
    for body in _PDF_STREAM.findall(content):
        try:
            yield Text(zlib.decompressobj().decompress(body).decode("latin-1"))
        except zlib.error:  # any other stream is searched among the raw bytes
            continue
