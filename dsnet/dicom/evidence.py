"""What the pixels of a file show: range of HU, saturation, metal and cement, and their hash."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dsnet.dicom.elements import Elements
from dsnet.dicom.header import Header
from dsnet.dicom.pixels import Frame, PixelError, PixelHash, decode, padding_range

SATURATION_HU = 3071
"""The largest HU of a 12-bit CT image with the usual intercept of -1024: what is denser, metal
above all, is cut to it."""

_AIR_FLOOR_HU = -1024
"""No tissue lies below; scanners fill what is outside the round field of view with less."""

_NEIGHBOURS_8 = np.ones((3, 3), bool)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a pixel counts as metal, and as bone cement, in HU."""

    metal_hu: float
    cement_hu: float


class Evidence(NamedTuple):
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
        As `PixelHash` gives it.
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


def examine(
    dataset: Dataset | Elements,
    header: Header,
    thresholds: Thresholds,
    largest_bytes: float = math.inf,
) -> Evidence:
    """Decode the pixels of `dataset` and return what they show.

    Raises
    ------
    PixelError
        As `decode` does.
    """
    digest = PixelHash(header)
    frames = 0
    for frame in decode(dataset, largest_bytes):
        digest.add(frame)
        frames += 1
    if frames == 0:
        raise PixelError("cut_pixels")
    evidence = NOTHING
    if frames == 1 and frame.stored.ndim == 2 and header.hu_scale:
        evidence = measure(frame, header, padding_range(dataset), thresholds)
    return evidence._replace(pixel_hash=digest.hexdigest())


def measure(
    frame: Frame,
    header: Header,
    padding: tuple[int, int] | None,
    thresholds: Thresholds,
) -> Evidence:
    """Return the evidence of one image in HU, its hash left blank.

    Parameters
    ----------
    frame : Frame
        (rows, columns) in size. Thresholds are brought to its scale: a comparison of integers
        costs a tenth of a rescale.
    header : Header
        Rescale and pixel spacing; ``header.hu_scale`` holds.
    padding : (int, int) or None
        First and last stored value that PixelPaddingValue (0028,0120) and PixelPaddingRangeLimit
        (0028,0121) declare to be no tissue. Beside these, the value of the first corner counts as
        padding when it lies below -1024 HU: not every scanner declares what it fills with.
    thresholds : Thresholds
    """
    stored, low, high = frame
    fills = [padding] if padding is not None else []
    corner = int(stored[0, 0])
    if corner * header.slope + header.intercept < _AIR_FLOOR_HU:
        fills.append((corner, corner))
    fills = sorted((first, last) for first, last in fills if first <= high and last >= low)
    inside = None
    floor = low - 1  # values up to it are padding
    for first, last in fills:
        if first > floor + 1:  # tissue lies between
            inside = _outside(stored, fills)
            break
        floor = max(floor, last)
    if (high <= floor) if inside is None else not inside.any():
        return Evidence(math.nan, math.nan, 0, 0.0, 0.0, 0.0, "")
    if inside is not None:
        low = int(np.where(inside, stored, high).min())
        high = int(np.where(inside, stored, low).max())
    elif low <= floor:
        low = _least_above(stored, floor, high)
    saturated, metal, dense = (
        _at_least(hu, Frame(stored, low, high), header, inside)
        for hu in (SATURATION_HU, thresholds.metal_hu, thresholds.cement_hu)
    )
    pixel_mm2 = header.row_spacing_mm * header.column_spacing_mm
    return Evidence(
        hu_min=low * header.slope + header.intercept,
        hu_max=high * header.slope + header.intercept,
        saturated_voxels=0 if saturated is None else int(np.count_nonzero(saturated)),
        metal_area_mm2=_largest_mm2(metal, pixel_mm2),
        metal_fraction=0.0 if metal is None else float(np.count_nonzero(metal) / metal.size),
        dense_area_mm2=_largest_mm2(dense, pixel_mm2),
        pixel_hash="",
    )


def _at_least(
    hu: float, frame: Frame, header: Header, inside: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    """Return which pixels of the tissue are that dense; None where none is, as on most slices."""
    least = max(math.ceil(round((hu - header.intercept) / header.slope, 6)), frame.low)
    if frame.high < least:
        return None
    dense = frame.stored >= least
    return dense if inside is None else dense & inside


def _largest_mm2(mask: NDArray[np.bool_] | None, pixel_mm2: float) -> float:
    """Return the area of the largest 8-connected component, 0 where there is none."""
    if mask is None or not mask.any():
        return 0.0
    from scipy import ndimage  # noqa: PLC0415 - loads slowly, and who reads no pixels does without

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    cropped = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    labels, _ = ndimage.label(cropped, _NEIGHBOURS_8)
    return float(np.bincount(labels.ravel())[1:].max() * pixel_mm2)


def _outside(stored: NDArray[Any], fills: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """Return which pixels lie in none of some ranges of values."""
    outside = np.ones(stored.shape, bool)
    for first, last in fills:
        outside &= (stored < first) | (stored > last)
    return outside


def _least_above(stored: NDArray[Any], floor: int, high: int) -> int:
    """Return the smallest value above `floor`, where `high`, the largest one, is above it."""
    if stored.itemsize == 2 and stored.dtype.isnative:
        # Modulo 2**16 the values up to the floor come to lie behind all others.
        steps = stored.view(np.uint16) - np.uint16(floor + 1 & 0xFFFF)
        return floor + 1 + int(steps.min())
    return int(np.where(stored > floor, stored, high).min())
