"""From a labelled volume to boxes on slices, in the patient's millimetres.

Places are in the patient's coordinates of DICOM (PS3.3 C.7.6.2.1.1): x to the left, y to the back,
z to the head (LPS). An affine is a 4 x 4 matrix from the index of a voxel's centre to its place.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dsnet.cohort.annotations.annotation import Edges

Floats = NDArray[np.float64]
Voxels = NDArray[np.bool_]

_TIE: Final = 1e-3
"""In voxels: a pixel within it of the border between two takes the upper one. More than float32
affines and decimal strings err by, so that the same mask in two formats gives the same boxes."""

_CORNERS: Final = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, 8)
_EIGHT: Final = np.ones((3, 3), dtype=int)
"""Pixels that touch at a corner belong together."""


@dataclass(frozen=True)
class Body:
    """The voxels of one label, cut out of their volume.

    Attributes
    ----------
    row : int
        The label's number.
    label : str
        The level, or its name as the file spells it.
    voxels : (i, j, k) bool
    affine : (4, 4) float64
        From the index of a voxel's centre to mm (LPS).
    """

    row: int
    label: str
    voxels: Voxels
    affine: Floats

    @classmethod
    def of(cls, row: int, label: str, voxels: Voxels, affine: Floats) -> "Body":
        """Return the body with its axes turned to run up in mm: a tie is then the same in all."""
        affine = affine.copy()
        for axis in range(3):
            step = affine[:3, axis]
            if step[np.abs(step).argmax()] < 0:
                voxels = np.flip(voxels, axis)
                affine[:3, 3] += step * (voxels.shape[axis] - 1)
                affine[:3, axis] = -step
        return cls(row, label, voxels, affine)

    def corners(self) -> Floats:
        """Return the corners of its outermost voxels in mm: float64 (3, 8)."""
        index = _CORNERS * np.array(self.voxels.shape)[:, None] - 0.5
        return np.asarray(self.affine[:3, :3] @ index + self.affine[:3, 3:])


@dataclass(frozen=True)
class Cut:
    """Where a slice cuts a body.

    Attributes
    ----------
    edges : tuple of 4 floats
        As `dsnet.schemas.BOX`, in whole pixels.
    area_mm2 : float
    sliver : bool
        Whether no connected part of it reaches the least area.
    """

    edges: Edges
    area_mm2: float
    sliver: bool


def bodies(values: NDArray[np.integer], affine: Floats, levels: dict[int, str]) -> list[Body]:
    """Return the labels of a volume that `levels` names, in the order of their numbers.

    Parameters
    ----------
    values : (i, j, k) integer
    affine : (4, 4) float64
        From the index of a voxel's centre to mm (LPS).
    levels : dict of int to str
        Level by label; other labels are left alone.
    """
    found = []
    places = ndimage.find_objects(values, max_label=max(levels, default=0))
    for label, place in enumerate(places, start=1):
        if place is None or label not in levels:
            continue
        corner = affine.copy()
        corner[:3, 3] += affine[:3, :3] @ np.array([one.start for one in place], dtype=float)
        found.append(Body.of(label, levels[label], values[place] == label, corner))
    return found


def cut(body: Body, affine: Floats, size: tuple[int, int], min_area_mm2: float) -> Cut | None:
    """Return the box of a body on a slice; None where the slice misses it.

    Each pixel's centre takes the voxel that it lies in (nearest neighbour), so that a slice meets
    a mask within half a voxel of the centres of its outermost ones. Connected parts smaller than
    `min_area_mm2` do not count, unless all are: then the cut is a sliver.

    Parameters
    ----------
    body : Body
    affine : (4, 4) float64
        Of the slice: from column, row and mm along the normal to mm (LPS).
    size : tuple of 2 int
        Columns and rows.
    min_area_mm2 : float
    """
    shown = _shown(body, affine, size)
    if shown is None:
        return None
    pixels, left, top = shown
    pixel_mm2 = float(np.linalg.norm(affine[:3, 0]) * np.linalg.norm(affine[:3, 1]))
    parts, _ = ndimage.label(pixels, _EIGHT)
    areas = np.bincount(parts.ravel()) * pixel_mm2
    areas[0] = -1  # what is no body, even where every part counts
    sliver = not (areas >= min_area_mm2).any()
    kept = pixels if sliver else np.isin(parts, np.flatnonzero(areas >= min_area_mm2))
    columns, rows = np.flatnonzero(kept.any(axis=0)), np.flatnonzero(kept.any(axis=1))
    edges = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
    x_min, y_min, x_max, y_max = (float(edge) for edge in edges)
    area_mm2 = float(kept.sum() * pixel_mm2)
    return Cut((x_min, y_min, x_max, y_max), area_mm2, sliver)


def _shown(body: Body, affine: Floats, size: tuple[int, int]) -> tuple[Voxels, int, int] | None:
    """Return the body's pixels on the part of the slice that may show it, and where that begins."""
    corners = np.linalg.solve(affine, np.vstack([body.corners(), np.ones(8)]))[:3]
    low, high = corners.min(axis=1), corners.max(axis=1)
    if low[2] > _TIE or high[2] < -_TIE:
        return None
    left, top = (max(int(np.floor(low[axis])), 0) for axis in range(2))
    right, bottom = (min(int(np.ceil(high[axis])) + 1, size[axis]) for axis in range(2))
    if left >= right or top >= bottom:
        return None
    to_voxel = np.linalg.solve(body.affine, affine)
    columns, rows = np.arange(left, right)[None, :], np.arange(top, bottom)[:, None]
    inside = np.ones((bottom - top, right - left), dtype=bool)
    index = []
    for axis, length in enumerate(body.voxels.shape):
        by_column, by_row, _, start = to_voxel[axis]
        nearest = np.floor(by_column * columns + by_row * rows + start + 0.5 + _TIE).astype(int)
        inside &= (nearest >= 0) & (nearest < length)
        index.append(np.clip(nearest, 0, length - 1))
    pixels = inside & body.voxels[index[0], index[1], index[2]]
    return (pixels, left, top) if pixels.any() else None
