"""Decoders of tables and arrays: Parquet, SQLite, NumPy and pickles, which are never executed."""

import io
import pickletools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.lib import format as npy_format

from dsnet.phi.piece import File, Numbers, Piece, Text, Values
from dsnet.phi.textual import as_text, leaves


def parquet_pieces(content: bytes) -> Iterator[Piece]:
    """Yield the metadata, the names and the cells of each column, nested ones too."""
    file = pq.ParquetFile(io.BytesIO(content))
    for key, text in (file.metadata.metadata or {}).items():
        yield File(as_text(key), text)
    yield Values(file.schema_arrow.names)
    for name in file.schema_arrow.names:
        column = file.read(columns=[name]).column(name)
        yield from _cells(name, column.to_pylist())


def sqlite_pieces(content: bytes) -> Iterator[Piece]:
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
            for place, cells in enumerate(zip(*rows.fetchall(), strict=True)):
                yield from _cells(names[place], list(cells))


def _cells(name: str, cells: list[Any]) -> Iterator[Piece]:
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


def npy_pieces(content: bytes) -> Iterator[Piece]:
    """Yield field names and text; numbers are pixels and weights, of which raw bytes suffice."""
    stream = io.BytesIO(content)
    major, _ = npy_format.read_magic(stream)
    read = npy_format.read_array_header_1_0 if major == 1 else npy_format.read_array_header_2_0
    _, _, dtype = read(stream)
    yield Values(list(dtype.names or ()))
    if dtype.hasobject:
        yield from pickle_pieces(content[stream.tell() :])
    else:
        array = np.load(io.BytesIO(content), allow_pickle=False)
        for part in [array[name] for name in dtype.names or ()] or [array]:
            if part.dtype.kind in "US":
                yield Values([_string(cell) for cell in part.ravel().tolist()])


def _string(cell: str | bytes) -> str:
    return as_text(cell) if isinstance(cell, bytes) else cell


def pickle_pieces(content: bytes) -> Iterator[Piece]:
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
