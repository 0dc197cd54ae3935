"""Where a vertebral body is measured, as fractions of its box.

A body's box on an axial slice is as wide as the body and reaches from its front to its back wall;
the front is up, as in a standard axial image. Pickhardt et al. (2013) set an oval over the anterior
trabecular bone of L1, away from the cortex and the veins behind; `core` is that oval.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsnet.config.evaluate import Baseline
from dsnet.evaluate.matching import Flags, Floats


@dataclass(frozen=True)
class Region:
    """The pixels of a box, and which of them are measured.

    Attributes
    ----------
    hu : float64 (rows, columns)
        The pixels that the box touches.
    core : bool (rows, columns)
        Trabecular bone: an ellipse in the front part of the body, off the cortical shell and the
        basivertebral veins, which enter in the middle of the back wall.
    rim : bool (rows, columns)
        Cortical shell: the front half of a ring along the ellipse that fills the box. The back half
        would hold the spinal canal and the pedicles.
    """

    hu: Floats
    core: Flags
    rim: Flags


def region(image: NDArray[np.int16], box: Floats, params: Baseline) -> Region:
    """Return what of an image is measured for one box; a pixel counts by its centre.

    Parameters
    ----------
    image : int16 (size_px, size_px)
        Of the slice store, in HU.
    box : float64 (4,)
        Edges as `schemas.BOX`; what lies beyond the image is left out.
    params : Baseline
    """
    x_min, y_min, x_max, y_max = box
    rows = np.arange(max(0, int(y_min)), min(len(image), int(np.ceil(y_max))))
    columns = np.arange(max(0, int(x_min)), min(image.shape[1], int(np.ceil(x_max))))
    # From 0 at the left edge and the front to 1 at the right edge and the back.
    across = (columns[None, :] + 0.5 - x_min) / (x_max - x_min)
    deep = (rows[:, None] + 0.5 - y_min) / (y_max - y_min)
    sideways = (across - 0.5) / params.core_width_fraction
    backwards = (deep - params.core_centre_fraction) / params.core_depth_fraction
    radius = 2 * np.hypot(across - 0.5, deep - 0.5)
    return Region(
        hu=image[np.ix_(rows, columns)].astype(np.float64),
        core=np.hypot(sideways, backwards) <= 0.5,
        rim=(radius <= 1) & (radius > 1 - params.rim_fraction) & (deep < 0.5),
    )
