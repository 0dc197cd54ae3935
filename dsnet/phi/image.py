"""Decoders of images: DICOM with nested sequences, and the text that PNG and PDF carry."""

import io
import re
import struct
import zlib
from collections.abc import Iterator

import pydicom
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from dsnet.phi.piece import File, Piece, Text, Values

_PDF_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.S)
_TEXT_VRS = frozenset(
    ("AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
)


def dicom_pieces(content: bytes) -> Iterator[Piece]:
    """Yield the text of every element, nested and private ones too, and binary ones as files."""
    texts: list[str] = []
    binaries: list[bytes] = []
    dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, force=True)
    for part in (dataset.file_meta, dataset):
        _walk(part, texts, binaries)
    yield Values(texts)
    for place, binary in enumerate(binaries):
        yield File(f"element{place}", binary)


def _walk(dataset: pydicom.Dataset, texts: list[str], binaries: list[bytes]) -> None:
    for element in dataset:
        content = element.value
        if isinstance(content, Sequence):
            for item in content:
                _walk(item, texts, binaries)
        elif isinstance(content, bytes):
            binaries.append(content)
        elif element.VR in _TEXT_VRS:
            many = content if isinstance(content, list | MultiValue) else [content]
            texts.extend(str(one) for one in many)


def png_pieces(content: bytes) -> Iterator[Piece]:
    """Yield the chunks tEXt, zTXt, iTXt and eXIf (PNG, third edition, 11.3.3 and 11.3.4)."""
    place = 8
    while place + 8 <= len(content):
        length, chunk = struct.unpack(">I4s", content[place : place + 8])
        body = content[place + 8 : place + 8 + length]
        place += 12 + length
        if chunk in (b"tEXt", b"eXIf"):
            yield Text(body.replace(b"\0", b"\n").decode("latin-1"))
        elif chunk == b"zTXt":
            yield Text(zlib.decompress(body.partition(b"\0")[2][1:]).decode("latin-1"))
        elif chunk == b"iTXt":
            keyword, _, rest = body.partition(b"\0")
            _, translated, text = rest[2:].split(b"\0", 2)
            text = zlib.decompress(text) if rest[:1] == b"\1" else text
            yield Text(b"\n".join((keyword, translated, text)).decode("utf-8", "replace"))


def pdf_pieces(content: bytes) -> Iterator[Piece]:
    """Yield every stream that deflate packed."""
    for body in _PDF_STREAM.findall(content):
        try:
            yield Text(zlib.decompressobj().decompress(body).decode("latin-1"))
        except zlib.error:  # a stream that is not compressed so is among the raw bytes
            continue
