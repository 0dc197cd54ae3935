"""Reading one file: what runs in the worker processes; it imports no table library.

The guard that turns an unexpected exception into the row of one file is in `read`, and nowhere
else.
"""

import errno
import hashlib
import io
import logging
import math
import os
import struct
import sys
import traceback
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dsnet.dicom import header, identifying, pixels, ps315, vocabulary
from dsnet.dicom.elements import Elements, remembered, split
from dsnet.dicom.evidence import Evidence, Thresholds, examine
from dsnet.dicom.header import Header
from dsnet.dicom.identifying import Value
from dsnet.dicom.pixels import PixelError

_ELEMENTS = [Tag(keyword) for keyword in dict.fromkeys(header.KEYWORDS + pixels.KEYWORDS)]
_PREAMBLE_BYTES, _PREFIX = 128, b"DICM"
_FIRST_TAGS = (b"\x02\x00", b"\x08\x00")
"""Groups 0002 and 0008, little-endian, with which a dataset without preamble begins."""
_PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
"""The tag (7FE0,0010), little-endian and big-endian."""

_IMAGE_PIXEL = ("Rows", "Columns", "BitsAllocated")
_DIRECTORY = "Media Storage Directory Storage"

_META_BYTES = 1 << 13
"""More than file meta information takes."""
_HEADER_BYTES = 1 << 24
"""More than a header takes, of a file that is too large to be read whole."""
_BLOCK_BYTES = 1 << 16
_DEEPEST_CALL = 10_000
"""Python's recursion limit while pydicom reads, which takes four calls per nested sequence; a
C stack of 8 MB bears several times as many."""

_PARSER_ERRORS = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom's parser raises for bytes that are no, or no whole, dataset; caught around it alone.
An OSError with a number is the system's and not caught (`_raise_if_of_system`)."""

_MACHINE = frozenset({errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})
"""Numbers of system errors that say nothing of the file that was being read."""

_IGNORE_ALL = ("ignore", None, Warning, None, 0)
"""What ``warnings.simplefilter("ignore")`` puts before all other filters."""

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one file may take.

    Attributes
    ----------
    seconds : float
    memory_bytes : int
        Of the process beyond what it takes at rest. No file larger than this is read whole.
    decoded_bytes : int
        Of one frame of pixels, or of a deflated dataset.
    """

    seconds: float
    memory_bytes: int
    decoded_bytes: int


UNLIMITED = Limits(math.inf, sys.maxsize, sys.maxsize)


class Facts(NamedTuple):
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
        The identifying values of the header; for the private folder alone.
    fault_class, fault_frame : str
        Of an unexpected exception its class and the last frame in this package, as
        ``dicom/evidence.py:85 examine``; of a process that died the signal, as ``SIGSEGV``; else
        "". Never the exception's message, which may quote the header.
    """

    fault: str
    header: Header | None = None
    evidence: Evidence | None = None
    identifying: tuple[Value, ...] = ()
    fault_class: str = ""
    fault_frame: str = ""


def read(
    path: str, thresholds: Thresholds, limits: Limits = UNLIMITED, *, decode: bool = True
) -> Facts:
    """Return the facts of one file; silent, regardless of its content.

    An exception that no branch below foresees becomes the fault ``unexpected_content``, with what
    was known until then.

    Parameters
    ----------
    path : str
    thresholds : Thresholds
        Of the pixel evidence.
    limits : Limits
        Of sizes that are stated before decoding; time and memory are the caller's to watch.
    decode : bool
        False for a file whose decoding killed a process: header only, fault ``decode_error``.

    Raises
    ------
    MemoryError, OSError
        If the machine is at fault and not the file: no memory, no space, too many open files.
    """
    facts = Facts("")
    try:
        with quiet(), open(path, "rb") as stream:  # noqa: PTH123 - a str, 50,000 times
            for more in _read(stream, thresholds, limits, decode=decode):
                facts = more
    except MemoryError:
        raise
    except OSError as error:
        if is_of_machine(error):
            raise
        return Facts("no_permission" if isinstance(error, PermissionError) else "io_error")
    except Exception as error:  # noqa: BLE001 - the guard: one file never costs another its row
        return facts._replace(
            fault="unexpected_content",
            fault_class=type(error).__name__,
            fault_frame=_last_frame(error),
        )
    return facts


def is_of_machine(error: BaseException) -> bool:
    """Return whether an exception speaks of the machine and not of the file that was read."""
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno in _MACHINE
    )


def version() -> str:
    """Return a digest of what decides the facts of a file: this code and pydicom's version."""
    digest = hashlib.sha256(pydicom.__version__.encode())
    digest.update(ps315.EDITION.encode())
    for module in (
        "elements",
        "evidence",
        "geometry",
        "header",
        "identifying",
        "pixels",
        "reader",
        "vocabulary",
    ):
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    return digest.hexdigest()[:16]


def _read(
    stream: BinaryIO, thresholds: Thresholds, limits: Limits, *, decode: bool
) -> Iterator[Facts]:
    """Yield the facts as they grow; the last ones are complete."""
    start = stream.read(_PREAMBLE_BYTES + len(_PREFIX))
    if not start:
        yield Facts("empty_file")
        return
    prefixed = start[_PREAMBLE_BYTES:] == _PREFIX
    if not prefixed and not start.startswith(_FIRST_TAGS):
        yield Facts("not_dicom")
        return
    too_large = stream.seek(0, os.SEEK_END) > limits.memory_bytes
    stream.seek(0)
    # In memory: from a file, Python would reserve the bytes that a damaged length asks for.
    content = stream.read(_HEADER_BYTES if too_large else -1)
    dataset: Dataset | Elements | None = split(content) if decode and not too_large else None
    cut = False
    if dataset is None:
        stream = io.BytesIO(content)
        if _inflates_beyond(stream, limits.decoded_bytes):
            yield Facts("too_large")
            return
        dataset, cut = load(stream, every=True, pixel_data=decode and not too_large)
    if isinstance(dataset, Elements):
        fault = _shared_fault(dataset)
    else:
        fault = _header_fault(dataset, prefixed=prefixed)
    if fault:
        yield Facts(fault)
        return
    head = header.read(dataset)
    facts = Facts("", head)
    yield facts
    facts = Facts("", head, identifying=identifying.collect(dataset))
    yield facts
    if too_large or cut or not decode:
        fault = "too_large" if too_large else "cut_pixels" if cut else "decode_error"
        yield facts._replace(fault=fault)
        return
    try:
        evidence = examine(dataset, head, thresholds, limits.decoded_bytes)
    except PixelError as error:
        yield facts._replace(fault=error.fault)
        return
    yield facts._replace(evidence=evidence)


def load(stream: BinaryIO, *, every: bool = False, pixel_data: bool = True) -> tuple[Dataset, bool]:
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
    pixel_data : bool
        False to stop before them.
    """
    for wanted in (None, _ELEMENTS) if every else (_ELEMENTS,):
        dataset = _parse(stream, wanted, pixel_data=pixel_data)
        if dataset:
            return dataset, False
    dataset = _parse(stream, _ELEMENTS, pixel_data=False)
    return dataset, stream.read(len(_PIXEL_DATA[0])) in _PIXEL_DATA


def _parse(stream: BinaryIO, wanted: list[BaseTag] | None, *, pixel_data: bool) -> Dataset:
    """Return the wanted elements, none where the bytes are no dataset."""
    stream.seek(0)
    deepest_call = sys.getrecursionlimit()
    sys.setrecursionlimit(max(deepest_call, _DEEPEST_CALL))
    try:
        return pydicom.dcmread(
            stream, stop_before_pixels=not pixel_data, force=True, specific_tags=wanted
        )
    except _PARSER_ERRORS as error:
        _raise_if_of_system(error)
        return Dataset()
    finally:
        sys.setrecursionlimit(deepest_call)


def _inflates_beyond(stream: BinaryIO, most_bytes: int) -> bool:
    """Return whether a deflated dataset is larger than `most_bytes`, which pydicom would not ask.

    It is inflated piece by piece and thrown away. A damaged one is left to pydicom.
    """
    stream.seek(0)
    if DeflatedExplicitVRLittleEndian.encode() not in stream.read(_META_BYTES):
        return False
    stream.seek(_PREAMBLE_BYTES + len(_PREFIX))
    try:
        meta = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag.group != 2)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return False
        inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while size <= most_bytes and (block := stream.read(_BLOCK_BYTES)):
            while block and size <= most_bytes:
                size += len(inflater.decompress(block, _BLOCK_BYTES))
                block = inflater.unconsumed_tail
    except _PARSER_ERRORS as error:
        _raise_if_of_system(error)
        return False
    return size > most_bytes


def _raise_if_of_system(error: Exception) -> None:
    """Raise an OSError of the system again; pydicom's own, for a damaged value, has no number."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error


def _header_fault(dataset: Dataset | Elements, *, prefixed: bool) -> str:
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


@remembered("SOPClassUID", "MediaStorageSOPClassUID", "PixelData", *_IMAGE_PIXEL)
def _shared_fault(elements: Dataset | Elements) -> str:
    return _header_fault(elements, prefixed=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Withhold warnings and log records: pydicom's quote header values.

    Entering it again within itself costs nothing.
    """
    before = logging.root.manager.disable
    if before >= logging.CRITICAL and warnings.filters[:1] == [_IGNORE_ALL]:
        yield
        return
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _last_frame(error: Exception) -> str:
    """Return the last frame of a traceback that lies in this package."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    path = Path(ours[-1].filename).relative_to(_PACKAGE).as_posix()
    return f"{path}:{ours[-1].lineno} {ours[-1].name}"
