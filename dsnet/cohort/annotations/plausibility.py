"""Whether boxes can be those of vertebral bodies: their size, and the order of the levels.

Neither needs a pixel. Neither can tell levels that are all shifted by one, left from right, or a
box of the right size in the wrong place; see docs/annotations.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from dsnet.cohort.annotations.annotation import Edges

_RANK: Final = {
    f"{region}{number}": above + number
    for region, above, count in (("C", 0, 7), ("T", 7, 12), ("L", 19, 6))
    for number in range(1, count + 1)
}
"""Rank of a level in the spine, from the head. The sacrum's are left out: L5 or L6 is above S1."""

_BODY_HEIGHT_MM: Final = 30.0
"""The middle of a body that is annotated on one slice is up to half of it away."""

_TILT_MM: Final = 5.0
"""An axial slice may cut two bodies of a tilted spine, so that one slice holds both."""

_VERTEBRA_MM: Final = 150.0
"""Wider than any vertebra with its processes, as masks may have it."""


@dataclass(frozen=True)
class Problem:
    """Why a box, or a pair of levels, cannot be right.

    Attributes
    ----------
    expected, came, remedy : str
        As in `dsnet.errors.UserError`.
    """

    expected: str
    came: str
    remedy: str


@dataclass(frozen=True)
class Centre:
    """The centre of one box.

    Attributes
    ----------
    level : str
    position_mm : (3,) float64
        In the patient's coordinates (LPS).
    """

    level: str
    position_mm: np.ndarray


def size_problem(
    edges: Edges,
    spacing_mm: tuple[float, float],
    limits_mm: tuple[float, float],
    *,
    of_mask: bool,
) -> Problem | None:
    """Return what is wrong with the size of a box, or None.

    Parameters
    ----------
    edges : tuple of 4 floats
        In pixels.
    spacing_mm : tuple of 2 floats
        Between columns and between rows; NaN where the header lacks it, and nothing is wrong then.
    limits_mm : tuple of 2 floats
        Shortest and longest edge of a vertebral body.
    of_mask : bool
        A mask's box is as small as the section, and may hold the whole vertebra.
    """
    width_mm = (edges[2] - edges[0]) * spacing_mm[0]
    height_mm = (edges[3] - edges[1]) * spacing_mm[1]
    least, most = (0.0, max(limits_mm[1], _VERTEBRA_MM)) if of_mask else limits_mm
    if not (min(width_mm, height_mm) < least or max(width_mm, height_mm) > most):
        return None
    if of_mask:
        remedy = "set annotations.mask_labels to what the labels mean"
    elif max(edges) <= 1:
        remedy = "multiply its numbers, which are fractions, by the image's width and height"
    elif width_mm > most and height_mm > most:
        remedy = (
            "scale the boxes to the DICOM image's own pixels; in YOLO files, name keypoints by "
            "kpt_shape in data.yaml"
        )
    else:
        remedy = "scale the boxes to the DICOM image's own pixels, or delete the annotation"
    return Problem(
        f"a vertebral body of {least:g} to {most:g} mm (annotations.edge_mm)",
        f"a box of {width_mm:.1f} x {height_mm:.1f} mm",
        remedy,
    )


def order_problem(
    centres: Sequence[Centre], pitch_mm: tuple[float, float]
) -> tuple[str, str, Problem] | None:
    """Return the first two levels of one series that cannot lie as they do, and why; or None.

    Levels descend along the body axis. From one to the next it is at least the lower limit in the
    lumbar spine, and two thirds of it above; and at most the upper one.

    Parameters
    ----------
    centres : sequence of Centre
        Of the boxes of one series.
    pitch_mm : tuple of 2 floats
        Least and greatest distance of neighbouring levels.
    """
    by_level: dict[str, np.ndarray] = {
        level: np.array([one.position_mm for one in centres if one.level == level])
        for level in {one.level for one in centres}
        if level in _RANK
    }
    ordered = sorted(by_level, key=_RANK.__getitem__)
    for upper, lower in pairwise(ordered):
        steps = _RANK[lower] - _RANK[upper]
        between = by_level[upper].mean(axis=0) - by_level[lower].mean(axis=0)
        least, most = pitch_mm
        if upper[0] != "L":
            least *= 2 / 3
        slack = sum(
            max(_BODY_HEIGHT_MM - float(np.ptp(by_level[level][:, 2])), 0) / 2
            for level in (upper, lower)
        )
        distance_mm = float(np.linalg.norm(between))
        if between[2] < -_TILT_MM:
            return (
                upper,
                lower,
                Problem(
                    f"{upper} above {lower} along the patient's axis",
                    f"it {-between[2]:.0f} mm below",
                    "correct the levels, which may be counted from below, or set "
                    "annotations.mask_labels to what the labels mean",
                ),
            )
        if not steps * least - slack <= distance_mm <= steps * most + slack:
            return (
                upper,
                lower,
                Problem(
                    f"{steps * least:.0f} to {steps * most:.0f} mm from {upper} to {lower} "
                    "(annotations.pitch_mm)",
                    f"{distance_mm:.0f} mm",
                    "correct the levels, or set annotations.mask_labels to what the labels mean",
                ),
            )
    return None
