"""One file in, its facts out. What runs in the worker processes; it imports no table library."""

import hashlib
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.tag import Tag

from dsnet.dicom import header, identifying, pixels, ps315, vocabulary
from dsnet.dicom.header import Header
from dsnet.dicom.identifying import Value
from dsnet.dicom.pixels import Evidence, PixelError, Thresholds

_ELEMENTS = [Tag(keyword) for keyword in dict.fromkeys(header.KEYWORDS + pixels.KEYWORDS)]
_PREFIX_AT, _PREFIX = 128, b"DICM"
_FIRST_TAGS = (b"\x02\x00", b"\x08\x00")
"""Groups 0002 and 0008, little-endian, with which a dataset without preamble begins."""

_IMAGE_PIXEL = ("Rows", "Columns", "BitsAllocated")
_DIRECTORY = "Media Storage Directory Storage"

_PARSER_ERRORS = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What `pydicom.dcmread` raises for bytes that are no, or no whole, dataset; caught around it
alone."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is kept of one file.

    Attributes
    ----------
    fault : str
        "" or why there is no header or no evidence, in the words of ``schemas.INDEX``.
    header : Header or None
        None for a file that is not readable.
    evidence : Evidence or None
        None for a file that is not decoded.
    identifying : tuple of Value
        What the header holds that identifies; for the private folder alone.
    """

    fault: str
    header: Header | None = None
    evidence: Evidence | None = None
    identifying: tuple[Value, ...] = ()


def read(path: str, thresholds: Thresholds, *, decode: bool = True) -> Facts:
    """Return the facts of one file; silent, whatever it holds.

    Parameters
    ----------
    path : str
    thresholds : Thresholds
        Of the pixel evidence.
    decode : bool
        False for a file whose decoding killed a process: header only, fault ``decode_error``.
    """
    try:
        with quiet(), open(path, "rb") as stream:  # noqa: PTH123 - a str, 50,000 times
            return _read(stream, thresholds, decode=decode)
    except PermissionError:
        return Facts("no_permission")
    except OSError:
        return Facts("io_error")


def version() -> str:
    """Return a digest of what decides the facts of a file: this code and pydicom's version."""
    digest = hashlib.sha256(pydicom.__version__.encode())
    digest.update(ps315.EDITION.encode())
    for module in ("geometry", "header", "identifying", "pixels", "reader", "vocabulary"):
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    return digest.hexdigest()[:16]


def _read(stream: BinaryIO, thresholds: Thresholds, *, decode: bool) -> Facts:
    start = stream.read(_PREFIX_AT + len(_PREFIX))
    if not start:
        return Facts("empty_file")
    prefixed = start[_PREFIX_AT:] == _PREFIX
    if not prefixed and not start.startswith(_FIRST_TAGS):
        return Facts("not_dicom")
    dataset, cut = load(stream, every=True)
    fault = _header_fault(dataset, prefixed=prefixed)
    if fault:
        return Facts(fault)
    facts, private = header.read(dataset), identifying.collect(dataset)
    try:
        if cut or not decode:
            raise PixelError("cut_pixels" if cut else "decode_error")
        return Facts("", facts, pixels.examine(dataset, facts, thresholds), private)
    except PixelError as error:
        return Facts(error.fault, facts, None, private)


def load(stream: BinaryIO, *, every: bool = False) -> tuple[Dataset, bool]:
    """Return what a file holds, and whether its pixel data begin and do not end.

    pydicom reads past a cut in elements of known length (`pixels` compares the lengths), but gives
    up the whole dataset where the end of compressed pixels is missing: then the header is read
    again, up to the pixels.

    Parameters
    ----------
    stream : binary stream
    every : bool
        All elements, and not the wanted ones alone. Where an unwanted one cannot be parsed, the
        wanted ones are read alone, so that it costs no file.
    """
    dataset = _parse(stream, stop_before_pixels=False, every=every)
    if "PixelData" in dataset:
        return dataset, False
    if every:
        return load(stream)
    dataset = _parse(stream, stop_before_pixels=True)
    return dataset, bool(stream.read(1))


def _parse(stream: BinaryIO, *, stop_before_pixels: bool, every: bool = False) -> Dataset:
    """Return the wanted elements, none where the bytes are no dataset."""
    stream.seek(0)
    try:
        return pydicom.dcmread(
            stream,
            stop_before_pixels=stop_before_pixels,
            force=True,
            specific_tags=None if every else _ELEMENTS,
        )
    except _PARSER_ERRORS:
        return Dataset()
    except OSError as error:
        # pydicom's own, for a cut sequence, has no number; those of the system have.
        if error.errno is not None:
            raise
        return Dataset()


def _header_fault(dataset: Dataset, *, prefixed: bool) -> str:
    """Return "" or why a file has no readable header.

    A file without the prefix ``DICM`` is DICOM only if it names its SOP class. A DICOMDIR is an
    index of a medium and of no patient. A header is cut where an image's ends before its size.
    """
    uid = header.sop_class_uid(dataset)
    sop_class = vocabulary.standard_name(uid, "SOP Class")
    if sop_class == _DIRECTORY or not (prefixed or uid):
        return "not_dicom"
    has_size = all(keyword in dataset for keyword in _IMAGE_PIXEL)
    if "PixelData" in dataset or has_size:
        return ""
    return "cut_header" if not uid or sop_class.endswith("Image Storage") else ""


@contextmanager
def quiet() -> Iterator[None]:
    """Withhold warnings and log records: pydicom's quote header values."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
