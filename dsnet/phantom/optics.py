"""What a scanner does to an image: blur, edge enhancement, noise and 12 bits."""

import numpy as np
from scipy import ndimage

from dsnet.phantom.canvas import Plane

LOWEST_HU, HIGHEST_HU = -1024, 3071
"""What 12 bits with an intercept of -1024 can hold; metal saturates at the upper end."""


def expose(
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


def digitise(hu: Plane) -> Plane:
    """Return whole HU within 12 bits, as int16."""
    return np.clip(np.rint(hu), LOWEST_HU, HIGHEST_HU).astype(np.int16)
