"""Pedicle screws with their streaks, and bone cement."""

import numpy as np
from scipy import ndimage

from dsnet.phantom.canvas import Canvas, Plane, capsule, ellipse

METAL_HU = 9000.0
"""Beyond what 12 bits can hold: the image saturates."""

CEMENT_HU = 2150.0


def paint_screws(canvas: Canvas, back_mm: float, rng: np.random.Generator) -> None:
    """Add two pedicle screws, the rays that they throw and the dark band between them.

    Parameters
    ----------
    canvas : Canvas
    back_mm : float
        y of the vertebral body's back wall.
    rng : Generator
    """
    heads = [(side * 17.0, back_mm + 12.0) for side in (-1, 1)]
    for x, y in heads:
        canvas.hu += _rays(canvas.x - x, canvas.y - y, rng)
    between = np.abs(canvas.x) < heads[1][0]
    canvas.hu -= 350 * between * np.exp(-(((canvas.y - heads[0][1]) / 4) ** 2))
    for x, y in heads:
        canvas.paint(capsule(1.1 * x, y + 12, 0.5 * x, y - 34, 3.1), METAL_HU)


def _rays(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    rays = ndimage.gaussian_filter1d(rng.standard_normal(360), 2.0, mode="wrap")
    along = np.interp(np.arctan2(y, x), np.linspace(-np.pi, np.pi, 360), rays / rays.std())
    return np.asarray(260 * along * np.exp(-np.hypot(x, y) / 45), np.float32)


def paint_cement(canvas: Canvas, rng: np.random.Generator) -> None:
    """Add cement in the middle of the vertebral body, denser than bone, less dense than metal."""
    lump = ellipse(-5, -2, 9.5, 7.5, 20) | ellipse(6, 2, 7, 6)
    canvas.paint(lump, np.asarray(CEMENT_HU - 120 * np.abs(canvas.mottle(lump, rng, 5.0))))
