"""Containers, recognised by their first bytes, and the chunks that each holds."""

import bz2
import gzip
import io
import lzma
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator

import pyarrow as pa

from dsnet.phi.binary_formats import (
    arrow_chunks,
    dicom_chunks,
    npy_chunks,
    parquet_chunks,
    pickle_chunks,
    png_chunks,
    sqlite_chunks,
)
from dsnet.phi.text_formats import (
    Chunk,
    File,
    Raw,
    Text,
    as_text,
    csv_chunks,
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


def chunks(kind: str, content: bytes) -> Iterator[Chunk]:
    """Yield what a container holds.

    Raises
    ------
    one of `DAMAGES`
        If it is damaged.
    """
    yield from _DECODERS[kind](content)


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
    return 2 * usual > len(text) > 0 and all(
        letter.isprintable() or letter in "\t\r\n" for letter in text
    )


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

_DECODERS: dict[str, Decoder] = {
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
