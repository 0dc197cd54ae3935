"""From pixel data to evidence: HU range, saturation, metal, and a hash that finds copies."""

import hashlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from scipy import ndimage

from dsnet.dicom.header import Header, transfer_syntax_uid

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

SATURATION_HU = 3071
"""The largest HU of a 12-bit CT image with the usual intercept of -1024: what is denser, metal
above all, is cut to it."""

_AIR_FLOOR_HU = -1024
"""No tissue lies below; scanners fill what is outside the round field of view with less."""

_NEIGHBOURS_8 = np.ones((3, 3), bool)

_DECODER_ERRORS = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom's decoders raise for pixel data or an image pixel module that are wrong. They are
caught around pydicom alone, so that no fault of this package hides among them."""


class PixelError(Exception):
    """Pixels that cannot be had.

    Attributes
    ----------
    fault : {"no_pixels", "cut_pixels", "no_decoder", "decode_error"}
    """

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a pixel counts as metal, and as bone cement, in HU."""

    metal_hu: float
    cement_hu: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the pixels of one file show.

    Only a single image in HU has numbers; elsewhere they are NaN and None. Areas are those of the
    largest 8-connected component, NaN if there is one and the pixel spacing is unknown.

    Attributes
    ----------
    hu_min, hu_max : float
        Without padding (`measure`).
    saturated_voxels : int or None
        Pixels at or above 3071 HU.
    metal_area_mm2, metal_fraction : float
        Pixels at or above `Thresholds.metal_hu`; the fraction is that of all pixels.
    dense_area_mm2 : float
        The same at `Thresholds.cement_hu`.
    pixel_hash : str
        SHA-256 over shape, stored values and rescale, equal for equal images regardless
        of transfer syntax, bits allocated and signedness.
    """

    hu_min: float
    hu_max: float
    saturated_voxels: int | None
    metal_area_mm2: float
    metal_fraction: float
    dense_area_mm2: float
    pixel_hash: str


NOTHING = Evidence(math.nan, math.nan, None, math.nan, math.nan, math.nan, "")
"""What stands in the index for a file that is not decoded."""


def examine(dataset: Dataset, header: Header, thresholds: Thresholds) -> Evidence:
    """Decode the pixels of `dataset` and return what they show.

    Raises
    ------
    PixelError
        If they cannot be decoded.
    """
    digest = hashlib.sha256()
    frames = 0
    for stored in decode(dataset):
        feed(digest, stored, header)
        frames += 1
    if frames == 0:
        raise PixelError("cut_pixels")
    if frames > 1 or stored.ndim != 2 or not header.hu_scale:
        return replace(NOTHING, pixel_hash=digest.hexdigest())
    return measure(stored, header, padding_range(dataset), thresholds, digest.hexdigest())


def decode(dataset: Dataset) -> Iterator[NDArray[Any]]:
    """Yield the frames of `dataset` in stored values, as pydicom's decoders give them.

    Uncompressed frames whose bits are all used are views on the file's bytes.

    Yields
    ------
    (rows, columns) or (rows, columns, samples) integer array

    Raises
    ------
    PixelError
        If there are no or too few bytes, no decoder for the transfer syntax, or one that fails.
    """
    if "PixelData" not in dataset:
        raise PixelError("no_pixels")
    try:
        decoder = get_decoder(_syntax(dataset))
    except NotImplementedError as error:
        raise PixelError("no_decoder") from error
    if not decoder.is_available:
        raise PixelError("no_decoder")
    try:
        if decoder.is_native and _is_short(dataset):
            raise PixelError("cut_pixels")
        for frame, _ in decoder.iter_array(
            dataset, raw=True, view_only=True, allow_excess_frames=False
        ):
            yield frame
    except _DECODER_ERRORS as error:
        raise PixelError("decode_error") from error
    except BaseException as error:
        # A panic in the RLE decoder, which is written in Rust, is no Exception and has no class
        # that could be imported.
        if type(error).__module__ != "pyo3_runtime":
            raise
        raise PixelError("decode_error") from error


def pixel_hash(dataset: Dataset, header: Header) -> str:
    """Return the SHA-256 of the decoded pixels and their shape, as in the index.

    Raises
    ------
    PixelError
        As `decode`.
    """
    digest = hashlib.sha256()
    for frame in decode(dataset):
        feed(digest, frame, header)
    return digest.hexdigest()


def measure(
    stored: NDArray[Any],
    header: Header,
    padding: tuple[int, int] | None,
    thresholds: Thresholds,
    pixel_hash: str,
) -> Evidence:
    """Return the evidence of one image in HU.

    Parameters
    ----------
    stored : (rows, columns) integer array
        Thresholds are brought to its scale: a comparison of integers costs a tenth of a rescale.
    header : Header
        Rescale and pixel spacing; ``header.hu_scale`` holds.
    padding : (int, int) or None
        First and last stored value that PixelPaddingValue (0028,0120) and PixelPaddingRangeLimit
        (0028,0121) declare to be no tissue. Beside these, the value of the first corner counts as
        padding when it lies below -1024 HU: not every scanner declares what it fills with.
    thresholds : Thresholds
    pixel_hash : str
        Goes into the result.
    """
    inside = _inside(stored, header, padding)
    values = stored if inside is None else stored[inside]
    if not values.size:
        return Evidence(math.nan, math.nan, 0, 0.0, 0.0, 0.0, pixel_hash)

    def at_least(hu: float) -> NDArray[np.bool_]:
        dense = stored >= math.ceil(round((hu - header.intercept) / header.slope, 6))
        return dense if inside is None else dense & inside

    metal = at_least(thresholds.metal_hu)
    pixel_mm2 = header.row_spacing_mm * header.column_spacing_mm
    return Evidence(
        hu_min=int(values.min()) * header.slope + header.intercept,
        hu_max=int(values.max()) * header.slope + header.intercept,
        saturated_voxels=int(np.count_nonzero(at_least(SATURATION_HU))),
        metal_area_mm2=_largest_mm2(metal, pixel_mm2),
        metal_fraction=float(np.count_nonzero(metal) / metal.size),
        dense_area_mm2=_largest_mm2(at_least(thresholds.cement_hu), pixel_mm2),
        pixel_hash=pixel_hash,
    )


def _largest_mm2(mask: NDArray[np.bool_], pixel_mm2: float) -> float:
    """Return the area of the largest 8-connected component, 0 where there is none."""
    if not mask.any():
        return 0.0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    cropped = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    labels, _ = ndimage.label(cropped, _NEIGHBOURS_8)
    return float(np.bincount(labels.ravel())[1:].max() * pixel_mm2)


def _inside(
    stored: NDArray[Any], header: Header, padding: tuple[int, int] | None
) -> NDArray[np.bool_] | None:
    """Return which pixels are no padding, None where all are."""
    corner = int(stored[0, 0])
    fills = [padding] if padding is not None else []
    if corner * header.slope + header.intercept < _AIR_FLOOR_HU:
        fills.append((corner, corner))
    inside = None
    for first, last in fills:
        outside = (stored >= first) & (stored <= last)
        inside = ~outside if inside is None else inside & ~outside
    return inside


def padding_range(dataset: Dataset) -> tuple[int, int] | None:
    """Return the declared padding range, read from its two bytes as the pixels are from theirs.

    The VR does not say it: GE writes -2000 as the unsigned 63536 beside signed pixels, and implicit
    files carry no VR at all.
    """
    signed = dataset.get("PixelRepresentation") == 1
    ends = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        if keyword in dataset:
            raw = dataset.get_item(keyword)
            value = raw.value if isinstance(raw.value, bytes) else b""
            if len(value) == 2:
                little = getattr(raw, "is_little_endian", True)
                ends.append(int.from_bytes(value, "little" if little else "big", signed=signed))
    return (min(ends), max(ends)) if ends else None


def feed(digest: Any, stored: NDArray[Any], header: Header) -> None:
    """Add a frame to a digest: as the smallest signed integers that hold it, little-endian."""
    ends = np.array([stored.min(), stored.max()], np.int64)
    width = next(kind for kind in ("<i2", "<i4", "<i8") if np.array_equal(ends.astype(kind), ends))
    digest.update(f"{stored.shape} {header.slope!r} {header.intercept!r}\n".encode())
    digest.update(np.ascontiguousarray(stored, width))


def _syntax(dataset: Dataset) -> str:
    """Return the transfer syntax; where a file names none, what pydicom took it for."""
    if uid := transfer_syntax_uid(dataset):
        return uid
    implicit, little_endian = dataset.original_encoding
    if not little_endian:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def _is_short(dataset: Dataset) -> bool:
    """Return whether uncompressed pixels have fewer bytes than rows and columns ask for.

    An incomplete image pixel module is left to the decoder, which refuses it.
    """
    sizes = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    factors = [dataset.get(keyword) for keyword in sizes] + [dataset.get("NumberOfFrames") or 1]
    if not all(isinstance(factor, int) for factor in factors):
        return False
    value = dataset.get_item("PixelData").value
    return value is None or len(value) * 8 < math.prod(factors)
