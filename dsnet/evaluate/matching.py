"""Which detection found which ground truth: the one routine under every metric."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_JUST_BELOW_ONE = 1 - 1e-10  # as in pycocotools: identical boxes still match at a threshold of 1


def iou(one: Floats, other: Floats) -> Floats:
    """Return the intersection over union of boxes, broadcast over all but the last axis.

    Parameters
    ----------
    one, other : float64 (..., 4)
        Edges x_min, y_min, x_max, y_max in pixels.

    Returns
    -------
    float64 (...)
        In [0, 1]; 0 where the boxes share no area, so that an empty box overlaps nothing.
    """
    width = np.minimum(one[..., 2], other[..., 2]) - np.maximum(one[..., 0], other[..., 0])
    height = np.minimum(one[..., 3], other[..., 3]) - np.maximum(one[..., 1], other[..., 1])
    shared = np.where((width > 0) & (height > 0), width * height, 0.0)
    union = _area(one) + _area(other) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def match(overlap: Floats, group: Integers, thresholds: Floats) -> Integers:
    """Match detections to ground truths, one to one, as COCO does.

    Within a group the detections choose in turn, the best score first: each takes the free ground
    truth that it overlaps most (the last of equals), if the overlap reaches the threshold.

    Parameters
    ----------
    overlap : float64 (detections, slots)
        IoU of each detection with each ground truth that it may take; -1 where there is none.
        The slots of all rows of a group mean the same ground truths. Rows of a group stand in
        descending order of score.
    group : int64 (detections,)
        Rows that compete with each other: those of one image, or of one image and class.
    thresholds : float64 (thresholds,)
        IoU that suffices.

    Returns
    -------
    int64 (thresholds, detections)
        The slot taken at each threshold, -1 for none.
    """
    floor = np.minimum(thresholds, _JUST_BELOW_ONE)
    slots = overlap.shape[1]
    taken = np.full((len(floor), len(group)), -1, dtype=np.int64)
    # What overlaps nothing takes nothing: leave it out, and few rounds remain.
    able = np.flatnonzero(overlap.max(axis=1, initial=-1.0) >= floor.min())
    _, team = np.unique(group[able], return_inverse=True)
    turn = place(group[able])
    free = np.ones((len(floor), team.max(initial=-1) + 1, slots), dtype=np.bool_)
    for now in range(turn.max(initial=-1) + 1):
        at = turn == now
        rows, teams = able[at], team[at]
        open_to = free[:, teams] & (overlap[rows] >= floor[:, None, None])
        worth = np.where(open_to, overlap[rows], -1.0)
        best = slots - 1 - worth[..., ::-1].argmax(axis=-1)
        hit, column = np.nonzero(open_to.any(axis=-1))
        taken[hit, rows[column]] = best[hit, column]
        free[hit, teams[column], best[hit, column]] = False
    return taken


def place(group: Integers) -> Integers:
    """Return the place of each row among the rows of its group, counted from 0."""
    order = np.argsort(group, kind="stable")
    _, sizes = np.unique(group, return_counts=True)
    places = np.empty(len(group), dtype=np.int64)
    places[order] = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return places


def suppress(box: Floats, group: Integers, threshold: float) -> Flags:
    """Return which boxes stay when each removes those below it that overlap it more.

    Non-maximum suppression, as torchvision's ``batched_nms``.

    Parameters
    ----------
    box : float64 (boxes, 4)
        Edges in pixels; boxes of a group stand together, the best first.
    group : int64 (boxes,)
        Boxes that compete with each other.
    threshold : float
        A box goes when its IoU with a better one that stays is greater.
    """
    stays = np.ones(len(box), dtype=np.bool_)
    _, first = np.unique(group, return_index=True)
    for rows in np.split(np.arange(len(box)), np.sort(first)[1:]):
        near = iou(box[rows, None], box[None, rows]) > threshold
        for row, hides in enumerate(near):
            if stays[rows[row]]:
                stays[rows[row + 1 :]] &= ~hides[row + 1 :]
    return stays


def _area(box: Floats) -> Floats:
    area: Floats = (box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1])
    return area
