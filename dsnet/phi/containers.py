"""Containers, recognised by their first bytes, and the chunks that each holds.

Parquet, Arrow, SQLite, NumPy, pickles (never executed), DICOM, PNG, archives and compressed files.
"""

import bz2
import gzip
import io
import lzma
import pickletools
import re
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
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
    csv_chunks,
    is_printable,
    json_chunks,
    leaves,
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
    RuntimeError,  # zipfile's, for an encrypted archive
    TypeError,
    ValueError,
    pa.ArrowException,
    sqlite3.Error,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the libraries raise for a damaged container; its raw bytes are searched all the same."""

HEAD_BYTES = 1024
"""Bytes of a file that decide its kind."""

AS_TEXT = ("text", "csv", "json")
COVERED = ("bzip2", "dicom", "gzip", "lz4", "npy", "xz", "zip", "zstd")
"""Containers whose decoders yield every byte: they are searched as raw bytes only when damaged."""

_ZLIB_START = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")
_PROBE_BYTES, _LARGEST_INFLATED = 1 << 12, 1 << 26
_SMALLEST_INFLATED = 4
_TEXT_VRS = frozenset(
    ("AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
)
_NUMBER_VRS = frozenset(("DS", "IS", "SV", "UV", "SL", "UL", "FD"))
_SIXTEEN_BITS = 16


def kind_of(name: str, head: bytes) -> str:
    """Return the container of a file by its first bytes, "binary" where none is recognised."""
    for kind, matches in _MAGIC:
        if matches(head):
            return kind
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    marks = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
    if not head.startswith(marks) and (b"\0" in head or _control_bytes(head)):
        return next((charset for charset in _WIDE_CHARSETS if _is_text(head, charset)), "binary")
    return {"csv": "csv", "tsv": "csv", "json": "json", "ipynb": "json"}.get(
        suffix, "json" if head.lstrip()[:1] in (b"{", b"[") else "text"
    )


def _control_bytes(head: bytes) -> bool:
    return sum(byte < 9 or 13 < byte < 27 for byte in head) > len(head) // 100


def _is_text(head: bytes, charset: str) -> bool:
    """Return whether bytes are text in a charset that no mark announces, Latin or CJK."""
    try:
        text = head[: len(head) // 4 * 4].decode(charset)
    except UnicodeDecodeError:
        return False
    usual = sum(letter.isascii() or "\u2e80" < letter < "\ufa00" for letter in text)
    return 2 * usual > len(text) > 0 and is_printable(text)


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
    names = file.schema_arrow.names
    columns = (file.read(columns=[name]).column(name) for name in names)
    yield from _table_chunks(file.metadata.metadata, names, columns)


def arrow_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the metadata, the names and the cells of an Arrow (Feather) file."""
    table = pa.ipc.open_file(content).read_all()
    yield from _table_chunks(table.schema.metadata, table.column_names, table.columns)


def _table_chunks(
    metadata: dict[bytes, bytes] | None, names: list[str], columns: Iterable[pa.ChunkedArray]
) -> Iterator[Chunk]:
    for key, text in (metadata or {}).items():
        yield File(as_text(key), text)
    yield Values(names)
    for name, column in zip(names, columns, strict=True):
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
                yield Values(
                    [
                        as_text(cell) if isinstance(cell, bytes) else cell
                        for cell in column.ravel().tolist()
                    ]
                )
            elif column.dtype.kind in "iu":
                yield from _cells("", [column.ravel().tolist()])


def is_integers(dtype: np.dtype[Any]) -> bool:
    """Return whether an array's type is one of integers of two and more bytes."""
    return dtype.kind in "iu" and dtype.itemsize >= 2


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


def _text_in(charset: str) -> Decoder:
    def decode(content: bytes) -> Iterator[Chunk]:
        yield Text(content.decode(charset, "replace"))

    return decode


def _zip(content: bytes) -> Iterator[Chunk]:
    """Yield the files of an archive, and the bytes between them."""
    gaps, end = [], 0
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in sorted(archive.infolist(), key=lambda entry: entry.header_offset):
            yield Text(as_text(entry.comment))
            yield File(entry.filename, archive.read(entry))
            lengths = content[entry.header_offset + 26 : entry.header_offset + 30]
            start = entry.header_offset + 30 + sum(struct.unpack("<HH", lengths))
            gaps.append(content[end:start])
            end = max(end, start + entry.compress_size)
        yield Text(as_text(archive.comment))
    yield Raw(b"\0".join([*gaps, content[end:]]))


def _tar(content: bytes) -> Iterator[Chunk]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for entry in archive:
            stream = archive.extractfile(entry) if entry.isfile() else None
            yield File(entry.name, stream.read() if stream else b"")


def _compressed(decompress: Callable[[bytes], bytes]) -> Decoder:
    def decode(content: bytes) -> Iterator[Chunk]:
        # Names and comments stand before the stream, and bytes of another file may follow it.
        yield Text((content[:HEAD_BYTES] + b"\n" + content[-HEAD_BYTES:]).decode("latin-1"))
        yield File("content", decompress(content))

    return decode


def _by_arrow(compression: str) -> Decoder:
    def decompress(content: bytes) -> bytes:
        stream = pa.input_stream(pa.BufferReader(content), compression=compression)
        return bytes(stream.read())

    return _compressed(decompress)


def _unopened(content: bytes) -> Iterator[Chunk]:
    """Yield nothing of an archive that only its own program opens."""
    raise NotImplementedError(f"{len(content)} bytes")
    yield  # a generator


def _nothing(content: bytes) -> Iterator[Chunk]:
    del content
    yield from ()


_WIDE_CHARSETS = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")

_MAGIC: list[tuple[str, Callable[[bytes], bool]]] = [
    ("parquet", lambda head: head.startswith(b"PAR1")),
    ("arrow", lambda head: head.startswith(b"ARROW1\0\0")),
    ("png", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    ("npy", lambda head: head.startswith(b"\x93NUMPY")),
    ("zip", lambda head: head.startswith((b"PK\x03\x04", b"PK\x05\x06"))),
    ("gzip", lambda head: head.startswith(b"\x1f\x8b\x08")),
    ("bzip2", lambda head: head.startswith(b"BZh")),
    ("xz", lambda head: head.startswith(b"\xfd7zXZ\0")),
    ("zstd", lambda head: head.startswith(b"\x28\xb5\x2f\xfd")),
    ("lz4", lambda head: head.startswith(b"\x04\x22\x4d\x18")),
    ("7z", lambda head: head.startswith(b"7z\xbc\xaf\x27\x1c")),
    ("rar", lambda head: head.startswith(b"Rar!\x1a\x07")),
    ("sqlite", lambda head: head.startswith(b"SQLite format 3\0")),
    ("pdf", lambda head: head.startswith(b"%PDF-")),
    ("dicom", lambda head: head[128:132] == b"DICM"),
    ("tar", lambda head: head[257:262] == b"ustar"),
    ("pickle", lambda head: len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5),
]

DECODERS: dict[str, Decoder] = {
    "text": text_chunks,
    "csv": csv_chunks,
    "json": json_chunks,
    "parquet": parquet_chunks,
    "arrow": arrow_chunks,
    "dicom": dicom_chunks,
    "png": png_chunks,
    "npy": npy_chunks,
    "zip": _zip,
    "tar": _tar,
    "pickle": pickle_chunks,
    "sqlite": sqlite_chunks,
    "gzip": _compressed(gzip.decompress),
    "bzip2": _compressed(bz2.decompress),
    "xz": _compressed(lzma.decompress),
    "zstd": _by_arrow("zstd"),
    "lz4": _by_arrow("lz4"),
    **{charset: _text_in(charset) for charset in _WIDE_CHARSETS},
    "7z": _unopened,
    "rar": _unopened,
    "pdf": _nothing,  # its streams are inflated wherever they stand
    "binary": _nothing,
}
"""What yields the chunks that a container holds; a damaged one raises one of `DAMAGES`."""
