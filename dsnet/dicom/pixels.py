"""From pixel data to stored values, and a hash that finds copies."""

import math
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.errors import BytesLengthException
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from dsnet.dicom.elements import Elements, remembered
from dsnet.dicom.header import Header, transfer_syntax_uid, value

KEYWORDS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
)
"""The elements that decoding needs."""

_FASTEST_PLUGIN = {JPEGLSLossless: "pyjpegls", JPEGLSNearLossless: "pyjpegls"}
"""By transfer syntax, where pydicom asks a slower plugin first: CharLS takes a quarter of libjpeg's
time. For the other syntaxes pydicom's order is that of speed (`docs/performance.md`)."""

_NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)

_HASH_BYTES = 16

_DECODER_ERRORS = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom's decoders raise for pixel data or an image pixel module that are wrong. They are
caught around pydicom alone, so that no fault of this package hides among them."""

_NO_MEMORY = re.compile(r"bad_alloc|(unable|cannot|failed) to alloc|memory", re.IGNORECASE)
"""How decoders say that memory ran out; pydicom quotes them in a RuntimeError of its own,
regardless of what they raised. It is no damage of the file."""

_JPEG_START, _JPEG_2000_START = b"\xff\xd8", b"\xff\x4f\xff\x51"
_NO_FRAME_HEADER = frozenset({0xC4, 0xC8, 0xCC})
"""Markers from C0 to CF that are not of a frame: Huffman tables, reserved, arithmetic coding."""


class PixelError(Exception):
    """Pixels that cannot be had.

    Attributes
    ----------
    fault : {"no_pixels", "cut_pixels", "too_large", "memory_limit", "no_decoder", "decode_error"}
    """

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


class Frame(NamedTuple):
    """One decoded image.

    Attributes
    ----------
    stored : (rows, columns) or (rows, columns, samples) integer array
    low, high : int
        The smallest and the largest value.
    """

    stored: NDArray[Any]
    low: int
    high: int

    @classmethod
    def of(cls, stored: NDArray[Any]) -> "Frame":
        """Return a frame of stored values."""
        return cls(stored, int(stored.min()), int(stored.max()))


def decode(dataset: Dataset | Elements, largest_bytes: float = math.inf) -> Iterator[Frame]:
    """Yield the frames of `dataset` in stored values, as pydicom's decoders give them.

    Uncompressed frames whose bits are all used are views on the file's bytes.

    Parameters
    ----------
    dataset : pydicom.Dataset or Elements
    largest_bytes : float
        Of one decoded frame, by the header and by the compressed image itself.

    Yields
    ------
    Frame

    Raises
    ------
    PixelError
        If there are no or too few bytes, no decoder for the transfer syntax, or one that fails, or
        if a frame would be larger than `largest_bytes`.
    """
    if "PixelData" not in dataset:
        raise PixelError("no_pixels")
    if isinstance(dataset, Elements):
        frame = _only_frame(dataset)
        if frame is not None and frame.stored.nbytes <= largest_bytes:
            yield frame
            return
    try:
        decoder = get_decoder(_syntax(dataset))
    except NotImplementedError as error:
        raise PixelError("no_decoder") from error
    if not decoder.is_available:
        raise PixelError("no_decoder")
    try:
        yield from map(Frame.of, _frames(decoder, dataset, largest_bytes))
    except _DECODER_ERRORS as error:
        no_memory = isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))
        raise PixelError("memory_limit" if no_memory else "decode_error") from error
    except BaseException as error:
        # A panic in the RLE decoder, which is written in Rust, is no Exception and has no class
        # that could be imported.
        if type(error).__module__ != "pyo3_runtime":
            raise
        raise PixelError("decode_error") from error


def _only_frame(elements: Elements) -> Frame | None:
    """Return the frame of an uncompressed grey image of 16 bits, None of any other image.

    Nearly all uncompressed CT images are that, and pydicom takes half a millisecond to see it.
    """
    form = _native_form(elements)
    content = elements.pixel_bytes() if form else None
    if form is None or content is None or len(content) != 2 * form.rows * form.columns:
        return None
    stored: NDArray[Any] = np.frombuffer(content, "<i2" if form.signed else "<u2")
    frame = Frame.of(stored.reshape(form.rows, form.columns))
    lowest = -(1 << form.bits_stored - 1) if form.signed else 0
    if not lowest <= frame.low <= frame.high < lowest + (1 << form.bits_stored):
        unused_bits = 16 - form.bits_stored  # set, though they have no meaning (PS3.5 8.1.1)
        frame = Frame.of(frame.stored << unused_bits >> unused_bits)
    return frame


class _NativeForm(NamedTuple):
    rows: int
    columns: int
    bits_stored: int
    signed: bool


@remembered("TransferSyntaxUID", *KEYWORDS)
def _native_form(elements: Dataset | Elements) -> _NativeForm | None:
    """Return how an uncompressed grey image of 16 bits lies in its bytes, None of any other."""
    rows, columns = value(elements, "Rows"), value(elements, "Columns")
    bits_stored, signed = value(elements, "BitsStored"), value(elements, "PixelRepresentation")
    if (
        transfer_syntax_uid(elements) not in _NATIVE
        or not (isinstance(rows, int) and isinstance(columns, int) and rows > 0 and columns > 0)
        or value(elements, "SamplesPerPixel") != 1
        or value(elements, "NumberOfFrames") not in (None, 1)
        or value(elements, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2")
        or value(elements, "BitsAllocated") != 16
        or bits_stored not in range(1, 17)
        or signed not in (0, 1)
    ):
        return None
    return _NativeForm(rows, columns, bits_stored, bool(signed))


def _frames(
    decoder: Decoder, dataset: Dataset | Elements, largest_bytes: float
) -> Iterator[NDArray[Any]]:
    """Return the frames; a single one comes from the fastest plugin, if that can decode it."""
    options: dict[str, Any] = {"raw": True, "view_only": True, "allow_excess_frames": False}
    source: Dataset | bytes
    is_single = value(dataset, "NumberOfFrames") in (None, 1)
    if not isinstance(dataset, Elements):
        source = dataset
    elif is_single and not decoder.is_native and (encapsulated := dataset.encapsulated()):
        source = encapsulated
        options |= _image_module(dataset)
    else:
        source = dataset = dataset.dataset(KEYWORDS)
    _check_size(dataset, source, largest_bytes, native=decoder.is_native)
    plugin = _FASTEST_PLUGIN.get(decoder.UID)
    if is_single and plugin in decoder.available_plugins:
        with suppress(*_DECODER_ERRORS):  # then pydicom asks the other plugins, too
            (frame, _), *_ = decoder.iter_array(source, decoding_plugin=plugin, **options)
            return iter([frame])
    return (frame for frame, _ in decoder.iter_array(source, **options))


@remembered(*KEYWORDS)
def _image_module(dataset: Dataset | Elements) -> dict[str, Any]:
    """Return the image pixel module as pydicom's decoders take it beside the bytes of one frame."""
    if isinstance(dataset, Elements):
        dataset = dataset.dataset([keyword for keyword in KEYWORDS if keyword != "PixelData"])
    return {"pixel_keyword": "PixelData", **as_pixel_options(dataset)}


class PixelHash:
    """What two images have in common that are equal: a digest of stored values, shape and rescale.

    Equal for equal images regardless of transfer syntax, bits allocated and signedness. BLAKE3,
    since SHA-256 took longer than all else that ingestion does for an uncompressed slice.

    Parameters
    ----------
    header : Header
        Its rescale.
    """

    def __init__(self, header: Header) -> None:
        self._rescale = f"{header.slope!r} {header.intercept!r}"
        self._digest = blake3()

    def add(self, frame: Frame) -> None:
        """Add a frame: as the smallest signed integers that hold it, little-endian.

        Raises
        ------
        PixelError
            ``decode_error`` where 64 bits with a sign do not hold it: no image has such values.
        """
        stored, low, high = frame
        widths = (bits for bits in (16, 32, 64) if -(1 << bits - 1) <= low <= high < 1 << bits - 1)
        bits = next(widths, None)
        if bits is None:
            raise PixelError("decode_error")
        width = np.dtype(f"<i{bits // 8}")
        if stored.dtype == np.dtype(f"<u{bits // 8}"):
            stored = stored.view(width)  # no value uses the sign: the same bytes without a copy
        self._digest.update(f"{stored.shape} {self._rescale}\n".encode())
        self._digest.update(np.ascontiguousarray(stored, width).data.cast("B"))

    def hexdigest(self) -> str:
        """Return the digest of all frames, 32 hexadecimal digits."""
        return self._digest.hexdigest(_HASH_BYTES)


@remembered("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit")
def padding_range(dataset: Dataset | Elements) -> tuple[int, int] | None:
    """Return the declared padding range, read from its two bytes as the pixels are from theirs.

    The VR does not say it: GE writes -2000 as the unsigned 63536 beside signed pixels, and implicit
    files carry no VR at all.
    """
    signed = value(dataset, "PixelRepresentation") == 1
    ends = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        if keyword in dataset:
            raw = dataset.get_item(keyword, keep_deferred=True)
            two = raw.value if isinstance(raw.value, bytes) else b""
            if len(two) == 2:
                little = getattr(raw, "is_little_endian", True)
                ends.append(int.from_bytes(two, "little" if little else "big", signed=signed))
    return (min(ends), max(ends)) if ends else None


def _syntax(dataset: Dataset | Elements) -> str:
    """Return the transfer syntax; where a file names none, what pydicom took it for."""
    uid = transfer_syntax_uid(dataset)
    if uid or isinstance(dataset, Elements):
        return uid
    implicit, little_endian = dataset.original_encoding
    if not little_endian:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def _check_size(
    dataset: Dataset | Elements, source: Dataset | bytes, largest_bytes: float, *, native: bool
) -> None:
    """Raise PixelError for pixels that are too few or too many, before they are decoded."""
    if native and isinstance(source, Dataset) and _is_short(source):
        raise PixelError("cut_pixels")
    if _frame_bits(dataset) > 8 * largest_bytes:
        raise PixelError("too_large")
    if not native and not _has_stated_size(dataset, source):
        raise PixelError("decode_error")


def _is_short(dataset: Dataset) -> bool:
    """Return whether uncompressed pixels have fewer bytes than rows and columns ask for.

    An incomplete image pixel module is left to the decoder, which refuses it.
    """
    content = dataset.get_item("PixelData").value
    frames = value(dataset, "NumberOfFrames") or 1
    bits = _frame_bits(dataset)
    if value(dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3  # two pixels share their colours
    return content is None or len(content) * 8 < bits * (frames if isinstance(frames, int) else 1)


def _frame_bits(dataset: Dataset | Elements) -> int:
    """Return the bits of one frame by the image pixel module, 0 where it is incomplete."""
    keywords = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    factors = [value(dataset, keyword) for keyword in keywords]
    return math.prod(factors) if all(isinstance(factor, int) for factor in factors) else 0


def _has_stated_size(dataset: Dataset | Elements, source: Dataset | bytes) -> bool:
    """Return whether compressed frames have the rows and columns of the header.

    Asked before decoding: a few bytes of JPEG may say that they are gigapixels.
    """
    stated = value(dataset, "Rows"), value(dataset, "Columns")
    frames = value(dataset, "NumberOfFrames") or 1
    content = source if isinstance(source, bytes) else source.PixelData
    sizes = map(codestream_size, generate_frames(content, number_of_frames=frames))
    return all(size is None or size == stated for size in sizes)


def codestream_size(content: bytes) -> tuple[int, int] | None:
    """Return rows and columns of a JPEG, JPEG-LS or JPEG 2000 image, None where it says none.

    From the frame header (ITU-T T.81 B.2.2 and T.87 C.2.2) or the SIZ marker segment (ITU-T T.800
    A.5.1).
    """
    if content.startswith(_JPEG_2000_START) and len(content) >= 24:
        right, lower, left, upper = struct.unpack_from(">4I", content, 8)
        return lower - upper, right - left
    offset = len(_JPEG_START)
    while content.startswith(_JPEG_START) and len(content) >= offset + 9:
        _, marker, length, _, rows, columns = struct.unpack_from(">BBHBHH", content, offset)
        if (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADER) or marker == 0xF7:
            return (rows, columns) if rows else None  # 0: a later segment says it
        offset += 2 + length
    return None
