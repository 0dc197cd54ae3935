"""Shapes in millimetres, an image in HU onto which they are painted, and the scanner's effects.

The origin is the centre of the vertebral body; x runs to the image's right (the patient's left), y
down (to the patient's back). Pixels on an edge hold the mean of what they cover (partial volume).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Plane = NDArray[np.float32]
Bounds = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max in mm."""

AIR_HU = -1000.0
LOWEST_HU, HIGHEST_HU = -1024, 3071
"""What 12 bits with an intercept of -1024 can hold; metal saturates at the upper end."""


@dataclass(frozen=True)
class Shape:
    """A region of the plane.

    Attributes
    ----------
    distance : callable
        From x and y in mm to the distance from the region's edge in mm, negative inside; all of
        shape (h, w).
    bounds : tuple of float
        A rectangle that holds the region.
    """

    distance: Callable[[Plane, Plane], Plane]
    bounds: Bounds

    def __and__(self, other: "Shape") -> "Shape":
        a, b = self.bounds, other.bounds
        return Shape(
            lambda x, y: np.maximum(self.distance(x, y), other.distance(x, y)),
            (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])),
        )

    def __or__(self, other: "Shape") -> "Shape":
        a, b = self.bounds, other.bounds
        return Shape(
            lambda x, y: soft_minimum(self.distance(x, y), other.distance(x, y)),
            (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])),
        )

    def __sub__(self, other: "Shape") -> "Shape":
        return Shape(
            lambda x, y: np.maximum(self.distance(x, y), -other.distance(x, y)), self.bounds
        )

    def grow(self, margin_mm: float) -> "Shape":
        """Return the region with its edge moved outwards (inwards where negative)."""
        x_min, y_min, x_max, y_max = self.bounds
        m = margin_mm
        return Shape(
            lambda x, y: self.distance(x, y) - m,
            (x_min - m, y_min - m, x_max + m, y_max + m),
        )


def ellipse(x0: float, y0: float, a: float, b: float, turn_deg: float = 0.0) -> Shape:
    """Return an ellipse about (`x0`, `y0`) with the half axes `a` along x and `b` along y."""
    # Python's floats leave an array in single precision, NumPy's would double it.
    x0, y0, a, b = float(x0), float(y0), float(a), float(b)
    c, s = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))

    def distance(x: Plane, y: Plane) -> Plane:
        u = ((x - x0) * c + (y - y0) * s) / a
        v = ((y - y0) * c - (x - x0) * s) / b
        radius = np.hypot(u, v)
        return np.asarray(radius * (radius - 1) / np.maximum(np.hypot(u / a, v / b), 1e-4))

    half_x, half_y = math.hypot(a * c, b * s), math.hypot(a * s, b * c)
    return Shape(distance, (x0 - half_x, y0 - half_y, x0 + half_x, y0 + half_y))


def capsule(x1: float, y1: float, x2: float, y2: float, radius: float) -> Shape:
    """Return all points within `radius` of the line from (`x1`, `y1`) to (`x2`, `y2`)."""
    x1, y1, dx, dy, r = float(x1), float(y1), float(x2 - x1), float(y2 - y1), float(radius)

    def distance(x: Plane, y: Plane) -> Plane:
        along = np.clip(((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy), 0, 1)
        return np.asarray(np.hypot(x - x1 - along * dx, y - y1 - along * dy) - r)

    return Shape(distance, (min(x1, x2) - r, min(y1, y2) - r, max(x1, x2) + r, max(y1, y2) + r))


def level_set(function: Callable[[Plane, Plane], Plane], bounds: Bounds) -> Shape:
    """Return the region where a smooth `function` of x and y is negative.

    The distance is the function's value over its slope: exact to the first order, which is enough
    for a cortical shell of a few millimetres.
    """

    def distance(x: Plane, y: Plane) -> Plane:
        value = function(x, y)
        if min(value.shape) < 2:
            return value
        by_y, by_x = np.gradient(value)
        step = (x[0, -1] - x[0, 0]) / (x.shape[1] - 1)
        return np.asarray(value * step / np.maximum(np.hypot(by_x, by_y), 1e-4))

    return Shape(distance, bounds)


def soft_minimum(a: Plane, b: Plane, reach_mm: float = 2.5) -> Plane:
    """Return the smaller distance, with the corner between the two shapes filled."""
    blend = np.clip(reach_mm - np.abs(a - b), 0, None) / reach_mm
    return np.asarray(np.minimum(a, b) - blend * blend * reach_mm / 4)


class Canvas:
    """An axial image in HU.

    Parameters
    ----------
    matrix_px : int
        Rows and columns.
    spacing_mm : float
        Edge of a pixel.
    centre_mm : tuple of float
        The image's centre, relative to the vertebral body's.
    """

    def __init__(self, matrix_px: int, spacing_mm: float, centre_mm: tuple[float, float]) -> None:
        steps = (np.arange(matrix_px, dtype=np.float32) - (matrix_px - 1) / 2) * spacing_mm
        self.spacing_mm = spacing_mm
        self._columns: Plane = (steps + centre_mm[0]).astype(np.float32)
        self._rows: Plane = (steps + centre_mm[1]).astype(np.float32)
        self._corner_mm = float(self._columns[0]), float(self._rows[0])
        self.hu: Plane = np.full((matrix_px, matrix_px), AIR_HU, np.float32)
        self._within: Plane | None = None
        self.undistort()

    def clip(self, shape: Shape, coverage: Plane) -> None:
        """Paint within `shape` only from now on; `coverage` is that of its window."""
        self._within = np.zeros_like(self.hu)
        self._within[self.window(shape.bounds)] = coverage

    def unclip(self) -> None:
        """Paint everywhere from now on."""
        self._within = None

    def undistort(self) -> None:
        """Paint shapes as they are from now on."""
        self.x, self.y = np.meshgrid(self._columns, self._rows)
        self._pad_mm = 2 * self.spacing_mm

    def distort(self, rng: np.random.Generator, amplitude_mm: float, free_mm: float) -> None:
        """Paint shapes smoothly distorted from now on, except within `free_mm` of the origin."""
        far = np.clip((np.hypot(self.x, self.y) - free_mm) / free_mm, 0, 1)
        knots = np.linspace(0, len(self._rows) - 1, 9)
        near = np.exp(-0.5 * ((np.arange(len(self._rows))[:, None] - knots) / knots[1]) ** 2)
        near = (near / np.sqrt((near**2).sum(axis=1, keepdims=True))).astype(np.float32)
        coarse = rng.standard_normal((2, 9, 9), dtype=np.float32)
        # Not by matrix products: BLAS threads of several processes slow each other down.
        half = np.einsum("ik,akl->ail", near, coarse)
        shift_x, shift_y = np.einsum("ail,jl->aij", half, near)
        self.x = self.x + amplitude_mm * far * shift_x
        self.y = self.y + amplitude_mm * far * shift_y
        self._pad_mm = 4 * amplitude_mm

    def window(self, bounds: Bounds) -> tuple[slice, slice]:
        """Return the rows and columns that cover `bounds`, as far as they lie in the image."""
        x_min, y_min, x_max, y_max = bounds
        x, y = self._corner_mm
        return self._span(y_min - y, y_max - y), self._span(x_min - x, x_max - x)

    def _span(self, low_mm: float, high_mm: float) -> slice:
        start = math.floor((low_mm - self._pad_mm) / self.spacing_mm)
        stop = math.ceil((high_mm + self._pad_mm) / self.spacing_mm) + 1
        size = len(self.hu)
        return slice(min(max(start, 0), size), min(max(stop, 0), size))

    def distance(self, shape: Shape) -> Plane:
        """Return the distance to `shape`'s edge for each pixel of its window."""
        window = self.window(shape.bounds)
        return shape.distance(self.x[window], self.y[window])

    def coverage(self, distance: Plane) -> Plane:
        """Return which share of each pixel a shape covers, from its edge's distance."""
        return np.asarray(np.clip(0.5 - distance / self.spacing_mm, 0, 1))

    def blend(self, shape: Shape, coverage: Plane, hu: float | Plane) -> None:
        """Mix `hu` into the window of `shape` by the share `coverage`."""
        window = self.window(shape.bounds)
        view = self.hu[window]
        if self._within is not None:
            coverage = coverage * self._within[window]
        view += coverage * (hu - view)

    def paint(self, shape: Shape, hu: float | Plane) -> None:
        """Fill `shape` with `hu`, a number or one value per pixel of its window."""
        rows, columns = self.window(shape.bounds)
        if rows.start < rows.stop and columns.start < columns.stop:
            self.blend(shape, self.coverage(self.distance(shape)), hu)

    def mottle(self, shape: Shape, rng: np.random.Generator, width_mm: float) -> Plane:
        """Return smooth noise for the window of `shape`, of mean 0 and standard deviation 1.

        `width_mm` is the full width at half maximum of a blotch.
        """
        rows, columns = self.window(shape.bounds)
        size = (max(rows.stop - rows.start, 0), max(columns.stop - columns.start, 0))
        noise = rng.standard_normal(size, dtype=np.float32)
        if noise.size == 0:
            return noise
        # Noise filtered by a Gaussian has blotches wider than the filter by the root of two.
        sigma_px = width_mm / 2.355 / np.sqrt(2) / self.spacing_mm
        smooth = ndimage.gaussian_filter(noise, sigma_px, mode="wrap")
        return np.asarray((smooth - smooth.mean()) / smooth.std(), np.float32)


def reconstruct(
    hu: Plane, spacing_mm: float, *, bone: bool, noise_hu: float, rng: np.random.Generator
) -> Plane:
    """Return `hu` as a bone kernel, or else a soft-tissue kernel, shows it.

    Parameters
    ----------
    hu : float32 array, shape (matrix, matrix)
    spacing_mm : float
    bone : bool
        A bone kernel resolves 1 mm, enhances edges and shows fine noise; a soft one is smooth.
    noise_hu : float
        Standard deviation of the noise of a bone kernel; a soft kernel has a third of it.
    rng : Generator
    """
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    if bone:
        sharp = ndimage.gaussian_filter(hu, 0.5 / spacing_mm)
        sharp += np.float32(0.25) * (sharp - ndimage.gaussian_filter(sharp, 1.2 / spacing_mm))
        noise -= np.float32(0.7) * ndimage.gaussian_filter(noise, 1.5)
        return sharp + noise * np.float32(noise_hu / noise.std())
    noise = ndimage.gaussian_filter(noise, 0.9)
    blurred = ndimage.gaussian_filter(hu, 1.0 / spacing_mm)
    return np.asarray(blurred + noise * np.float32(noise_hu / 3 / noise.std()), np.float32)


def digitise(hu: Plane) -> NDArray[np.int16]:
    """Return whole HU within 12 bits."""
    return np.clip(np.rint(hu), LOWEST_HU, HIGHEST_HU).astype(np.int16)
