"""Where a slice lies in the patient, and how the slices of a series follow each other.

All from ImagePositionPatient (0020,0032) and ImageOrientationPatient (0020,0037), DICOM PS3.3
C.7.6.2: never from file names, InstanceNumber or SliceLocation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_ORTHONORMAL_TOLERANCE = 0.01
"""On lengths and on the cosine between row and column: some writers keep two decimals."""

_LARGEST_PIXEL_MM = 10.0
_MOST_DIRECTIONS = 256
"""Orientations that are remembered; the slices of a series share theirs."""

_SAME_POSITION_MM = 0.01
_IRREGULAR_SHARE = 0.1


_LARGEST_TILT_DEG = 90.0
"""No gantry tilts further: a larger number is no tilt but an angle of something else."""

_DIRECTIONS = (("L", "R"), ("P", "A"), ("H", "F"))
"""Letters of PatientOrientation (0020,0020) along x, y and z, and against them."""


class Plane(NamedTuple):
    """One slice's plane.

    Attributes
    ----------
    orientation : str
        Where the rows and the columns of the image lead, as two letters of PatientOrientation
        (0020,0020): ``LP`` in a standard axial image, whose rows lead to the patient's left and
        whose columns to the back; ``RA`` in one turned by half a turn. "" if unknown.
    rotation_deg : float
        Angle between a row and the direction that its letter stands for, 0 to 54.7 (as far as any
        direction is from the nearest axis); NaN if unknown.
    tilt_deg : float
        Angle between the slice's normal and the patient's long axis, 0 to 90; NaN if unknown.
    position_mm : float
        ImagePositionPatient projected on the normal; NaN if unknown.
    normal : str
        The normal to two decimals, by which the stacks of one series are distinguished; ""
        if unknown.
    fault : str
        "", no_orientation, no_position, no_spacing, not_orthogonal or impossible_spacing.
    """

    orientation: str
    rotation_deg: float
    tilt_deg: float
    position_mm: float
    normal: str
    fault: str


@dataclass(frozen=True, slots=True)
class Stack:
    """The order of slices that share a series and a normal.

    Attributes
    ----------
    slice_number : (n,) int64 array
        From 1 along the normal; slices within 0.01 mm of each other share a number.
    spacing_mm : float
        Median gap between neighbouring positions; NaN for a single position.
    irregular_fraction : float
        Share of gaps that differ by more than 10 % from the median; NaN for a single position.
    """

    slice_number: NDArray[np.int64]
    spacing_mm: float
    irregular_fraction: float


def plane(
    orientation: Sequence[float],
    position: Sequence[float],
    spacing_mm: Sequence[float],
    gantry_tilt_deg: float,
) -> Plane:
    """Return where a slice lies, and the first thing that is wrong with its geometry.

    Parameters
    ----------
    orientation : sequence of 6 float
        ImageOrientationPatient: direction of a row, then of a column; empty if unknown.
    position : sequence of 3 float
        ImagePositionPatient in mm; empty if unknown.
    spacing_mm : sequence of 2 float
        PixelSpacing (0028,0030); empty if unknown.
    gantry_tilt_deg : float
        GantryDetectorTilt (0018,1120), NaN if unknown. It counts where it is larger than the tilt
        of the orientation, since some exports shear a tilted stack and call it axial, and at most
        90, since no gantry tilts further.
    """
    normal, shared = _directions(tuple(orientation), gantry_tilt_deg)
    return shared._replace(
        position_mm=_dot(normal, position) if normal and len(position) == 3 else math.nan,
        fault=_fault(orientation, position, spacing_mm, orthogonal=normal is not None),
    )


@lru_cache(_MOST_DIRECTIONS)
def _directions(
    orientation: tuple[float, ...], gantry_tilt_deg: float
) -> tuple[tuple[float, float, float] | None, Plane]:
    """Return the normal and the plane of all slices of an orientation, its position left blank."""
    normal = _normal(orientation)
    if normal is None:
        return None, Plane("", math.nan, math.nan, math.nan, "", "")
    from_axis = math.degrees(math.acos(min(1.0, abs(normal[2]))))
    gantry = abs(gantry_tilt_deg)
    letters, rotation_deg = _nearest_axes(orientation)
    tilt_deg = max(from_axis, gantry) if gantry <= _LARGEST_TILT_DEG else from_axis
    text = " ".join(f"{round(x, 2) + 0.0:.2f}" for x in normal)
    return normal, Plane(letters, rotation_deg, tilt_deg, math.nan, text, "")


def stack(positions_mm: NDArray[np.float64]) -> Stack:
    """Return the order and the spacing of slices on one normal.

    Parameters
    ----------
    positions_mm : (n,) float64 array, n >= 1
        Finite positions along the normal, in any order.
    """
    order = np.argsort(positions_mm, kind="stable")
    ordered = positions_mm[order]
    new = np.diff(ordered, prepend=-np.inf) > _SAME_POSITION_MM
    slice_number = np.empty(len(order), np.int64)
    slice_number[order] = np.cumsum(new)
    gaps = np.diff(ordered[new])
    if not gaps.size:
        return Stack(slice_number, math.nan, math.nan)
    median = float(np.median(gaps))
    irregular = np.abs(gaps - median) > _IRREGULAR_SHARE * median
    return Stack(slice_number, median, float(irregular.mean()))


def _normal(orientation: Sequence[float]) -> tuple[float, float, float] | None:
    """Return the unit normal, or None where rows and columns are no right angle of unit vectors.

    In plain Python: for three numbers NumPy takes ten times as long.
    """
    if len(orientation) != 6:
        return None
    row, column = orientation[:3], orientation[3:]
    errors = (_dot(row, row) - 1, _dot(column, column) - 1, _dot(row, column))
    if any(abs(error) > _ORTHONORMAL_TOLERANCE for error in errors):
        return None
    normal = (
        row[1] * column[2] - row[2] * column[1],
        row[2] * column[0] - row[0] * column[2],
        row[0] * column[1] - row[1] * column[0],
    )
    length = math.hypot(*normal)
    return (normal[0] / length, normal[1] / length, normal[2] / length)


def _nearest_axes(orientation: Sequence[float]) -> tuple[str, float]:
    """Return the letters of the axes nearest to row and column, and the row's angle to its own."""
    row, column = orientation[:3], orientation[3:]
    along = max(range(3), key=lambda axis: abs(row[axis]))
    down = max({0, 1, 2} - {along}, key=lambda axis: abs(column[axis]))
    letters = _DIRECTIONS[along][row[along] < 0] + _DIRECTIONS[down][column[down] < 0]
    return letters, math.degrees(math.acos(min(1.0, abs(row[along]) / math.hypot(*row))))


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _fault(
    orientation: Sequence[float],
    position: Sequence[float],
    spacing_mm: Sequence[float],
    *,
    orthogonal: bool,
) -> str:
    if len(orientation) != 6:
        return "no_orientation"
    if len(position) != 3:
        return "no_position"
    if len(spacing_mm) != 2:
        return "no_spacing"
    if not orthogonal:
        return "not_orthogonal"
    if not all(0 < size <= _LARGEST_PIXEL_MM for size in spacing_mm):
        return "impossible_spacing"
    return ""
