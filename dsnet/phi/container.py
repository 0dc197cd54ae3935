"""Telling containers apart, and opening them: by their first bytes, else by their name."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator

from dsnet.phi.image import dicom_pieces, pdf_pieces, png_pieces
from dsnet.phi.piece import File, Piece, Text
from dsnet.phi.tabular import npy_pieces, parquet_pieces, pickle_pieces, sqlite_pieces
from dsnet.phi.textual import as_text, csv_pieces, json_pieces, text_pieces

Decoder = Callable[[bytes], Iterator[Piece]]


def kind_of(name: str, head: bytes) -> str:
    """Return the container of a file, "binary" for none that is known, by its first bytes."""
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


def pieces(kind: str, content: bytes) -> Iterator[Piece]:
    """Yield what a container holds; raises what the libraries raise for a damaged one."""
    yield from _DECODERS[kind](content)


def _control_bytes(head: bytes) -> bool:
    return sum(byte < 9 or 13 < byte < 27 for byte in head) > len(head) // 100


def _zip(content: bytes) -> Iterator[Piece]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        yield Text(as_text(archive.comment))
        for entry in archive.infolist():
            yield Text(as_text(entry.comment))
            yield File(entry.filename, archive.read(entry))


def _tar(content: bytes) -> Iterator[Piece]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for entry in archive:
            stream = archive.extractfile(entry) if entry.isfile() else None
            yield File(entry.name, stream.read() if stream else b"")


def _packed(unpack: Callable[[bytes], bytes]) -> Decoder:
    def decode(content: bytes) -> Iterator[Piece]:
        yield File("content", unpack(content))

    return decode


def _nothing(content: bytes) -> Iterator[Piece]:
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
    "text": text_pieces,
    "csv": csv_pieces,
    "json": json_pieces,
    "parquet": parquet_pieces,
    "dicom": dicom_pieces,
    "png": png_pieces,
    "npy": npy_pieces,
    "zip": _zip,
    "tar": _tar,
    "pickle": pickle_pieces,
    "sqlite": sqlite_pieces,
    "pdf": pdf_pieces,
    "gzip": _packed(gzip.decompress),
    "bzip2": _packed(bz2.decompress),
    "xz": _packed(lzma.decompress),
    "binary": _nothing,
}
