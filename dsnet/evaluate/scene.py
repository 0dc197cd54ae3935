"""The images of one subset with their ground truths and detections, and matching between the two.

All boxes have edges in pixels, as `dsnet.schemas.BOX` defines them. Nothing here imports another
module of this package: training depends on this file and on `average_precision` alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dsnet import slice_tables as schemas
from dsnet.errors import UserError
from dsnet.slice_tables import BOX, CLASSES, LEVELS, MAX_DETECTIONS, SUPPRESSION_IOU

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_JUST_BELOW_ONE = 1 - 1e-10  # as in pycocotools: identical boxes still match at a threshold of 1


@dataclass(frozen=True)
class Truth:
    """Ground truths by image and slot; an image with fewer boxes than slots leaves some empty.

    Attributes
    ----------
    box : float64 (images, slots, 4)
        Edges in pixels; 0 in an empty slot.
    label : int64 (images, slots)
        Index into `CLASSES`; -1 in an empty slot.
    level : int64 (images, slots)
        Index into `LEVELS`; -1 in an empty slot. Levels ascend with the slots of an image.
    """

    box: Floats
    label: Integers
    level: Integers


@dataclass(frozen=True)
class Detections:
    """Detections, grouped by image, in descending order of score within an image.

    Attributes
    ----------
    image : int64 (detections,)
        Index of the image.
    box : float64 (detections, 4)
        Edges in pixels.
    label : int64 (detections,)
        Index into `CLASSES`.
    score : float64 (detections,)
    probability : float64 (detections, 4)
        Background, then `CLASSES`.
    """

    image: Integers
    box: Floats
    label: Integers
    score: Floats
    probability: Floats

    def take(self, rows: Flags | Integers) -> "Detections":
        """Return these rows, in this order."""
        return Detections(*(values[rows] for values in vars(self).values()))

    def tie_breakers(self) -> tuple[Floats, ...]:
        """Return the keys that order equal scores, the last key first: edges, probabilities."""
        return (*self.probability.T[::-1], *self.box.T[::-1])


@dataclass(frozen=True)
class Scene:
    """The images of one subset.

    Images stand in the order of the slice store and patients in the order of their first image, so
    that neither ties nor resamples depend on the secret behind the keys.

    Attributes
    ----------
    patient : int64 (images,)
        Index of each image's patient.
    patient_keys : tuple of str
    truth : Truth
    detections : Detections
        As `best_first` returns them.
    row : int64 (images,)
        Row of each image in the slice store.
    """

    patient: Integers
    patient_keys: tuple[str, ...]
    truth: Truth
    detections: Detections
    row: Integers

    def overlap(self, detections: Detections) -> Floats:
        """Return the IoU of detections with the slots of their image, -1 where a slot is empty."""
        boxes = self.truth.box[detections.image]
        filled = self.truth.label[detections.image] >= 0
        return np.where(filled, iou(detections.box[:, None], boxes), -1.0)

    @cached_property
    def objects(self) -> Detections:
        """The class-agnostic detections: each detected object once.

        The score is the probability of not being background, the label the likeliest class. Boxes
        of any class that overlap by more than `SUPPRESSION_IOU` are one object, which keeps
        the box of the best score and, of equals (one proposal gives a box per class), the box of
        the likelier class.
        """
        every = self.detections
        score = 1 - every.probability[:, 0]
        likeliest = every.probability[:, 1:].argmax(axis=1).astype(np.int64)
        order = np.lexsort((*every.tie_breakers(), -every.score, -score, every.image))
        objects = Detections(every.image, every.box, likeliest, score, every.probability)
        objects = objects.take(order)
        objects = objects.take(suppress(objects.box, objects.image, SUPPRESSION_IOU))
        return objects.take(rank_in_group(objects.image) < MAX_DETECTIONS)

    def localised(self, iou: float, score: float) -> tuple[Detections, Integers]:
        """Return the objects of at least `score` and the slots they match, regardless of class.

        Returns
        -------
        objects : Detections
            Of `objects`.
        slot : int64 (objects,)
            -1 for a false box.
        """
        objects = self.objects.take(self.objects.score >= score)
        return objects, match(self.overlap(objects), objects.image, np.array([iou]))[0]


def read_scenes(files: Sequence[Path], boxes: Path, split: Path, subset: str) -> list[Scene]:
    """Return the images of `subset` with their ground truths and the detections of each file.

    Parameters
    ----------
    files : sequence of Path
        Tables under `schemas.PREDICTIONS`: those of one detector's seeds.
    boxes, split : Path
        Tables under `schemas.SLICES` and `schemas.SPLIT`.
    subset : str
        One of `schemas.SUBSETS`.

    Raises
    ------
    UserError
        If the subset has no image, or the tables do not belong together.
    """
    annotated = schemas.read(schemas.SLICES, boxes)
    images = schemas.read(schemas.SPLIT, split)
    members = images[images["subset"] == subset]
    if members.empty:
        raise UserError(
            split.name,
            expected=f"images in the subset {subset!r}, one of {', '.join(schemas.SUBSETS)}",
            came="none",
            remedy="name another subset, or split again",
        )
    _check_belongs(split.name, members["image_key"], annotated["image_key"], "slices.csv")
    scenes = []
    for file in files:
        predictions = schemas.read(schemas.PREDICTIONS, file)
        _check_belongs(file.name, predictions["image_key"], images["image_key"], "split.csv")
        scenes.append(scene(predictions, annotated, members))
    return scenes


def scene(predictions: pd.DataFrame, boxes: pd.DataFrame, split: pd.DataFrame) -> Scene:
    """Return the scene of the images in `split`; rows of other images are left out.

    Parameters
    ----------
    predictions, boxes, split : DataFrame
        Under `schemas.PREDICTIONS`, `schemas.SLICES` and `schemas.SPLIT`; the order of their
        rows does not matter.
    """
    boxes = boxes.sort_values(["row", "level"])
    patient_of = split.set_index("image_key")["patient_key"]
    boxes = boxes[boxes["image_key"].isin(patient_of.index)]
    images = pd.Index(boxes["image_key"].unique())
    patient, keys = pd.factorize(patient_of.loc[images])
    return Scene(
        patient.astype(np.int64),
        tuple(keys),
        _truth(boxes, images),
        detections_on(predictions, images),
        boxes.drop_duplicates("image_key")["row"].to_numpy(np.int64),
    )


def best_first(detections: Detections) -> Detections:
    """Return the detections as a `Scene` needs them: sorted, `MAX_DETECTIONS` at most.

    At most so many of an image and class, those of the highest score.
    """
    keys = (*detections.tie_breakers(), detections.label, -detections.score, detections.image)
    ordered = detections.take(np.lexsort(keys))
    rank = rank_in_group(ordered.image * len(CLASSES) + ordered.label)
    return ordered.take(rank < MAX_DETECTIONS)


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

    Examples
    --------
    >>> float(iou(np.array([0.0, 0, 2, 2]), np.array([1.0, 0, 2, 2])))
    0.5
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
        Smallest IoU of a match.

    Returns
    -------
    int64 (thresholds, detections)
        The slot taken at each threshold, -1 for none.
    """
    floor = np.minimum(thresholds, _JUST_BELOW_ONE)
    slots = overlap.shape[1]
    taken = np.full((len(floor), len(group)), -1, dtype=np.int64)
    # A detection that overlaps nothing takes nothing: without these, few rounds remain.
    able = np.flatnonzero(overlap.max(axis=1, initial=-1.0) >= floor.min())
    _, team = np.unique(group[able], return_inverse=True)
    turn = rank_in_group(group[able])
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


def rank_in_group(group: Integers) -> Integers:
    """Return the rank of each row among the rows of its group, counted from 0.

    Examples
    --------
    >>> rank_in_group(np.array([7, 3, 7, 7])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(group, kind="stable")
    _, sizes = np.unique(group, return_counts=True)
    ranks = np.empty(len(group), dtype=np.int64)
    ranks[order] = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return ranks


def suppress(box: Floats, group: Integers, threshold: float) -> Flags:
    """Return which boxes remain when each removes those below it that overlap it more.

    Non-maximum suppression, as torchvision's ``batched_nms``.

    Parameters
    ----------
    box : float64 (boxes, 4)
        Edges in pixels; boxes of a group stand together, the best first.
    group : int64 (boxes,)
        Boxes that compete with each other.
    threshold : float
        A box is removed when its IoU with a better one that remains is greater.
    """
    remains = np.ones(len(box), dtype=np.bool_)
    _, first = np.unique(group, return_index=True)
    for rows in np.split(np.arange(len(box)), np.sort(first)[1:]):
        near = iou(box[rows, None], box[None, rows]) > threshold
        for row, hides in enumerate(near):
            if remains[rows[row]]:
                remains[rows[row + 1 :]] &= ~hides[row + 1 :]
    return remains


def _truth(boxes: pd.DataFrame, images: pd.Index) -> Truth:
    image = _index(images, boxes["image_key"])
    slot = rank_in_group(image)
    shape = (len(images), int(slot.max(initial=0)) + 1)
    truth = Truth(np.zeros((*shape, 4)), np.full(shape, -1), np.full(shape, -1))
    truth.box[image, slot] = boxes[list(BOX)].to_numpy(np.float64)
    truth.label[image, slot] = _index(pd.Index(CLASSES), boxes["label"])
    truth.level[image, slot] = _index(pd.Index(LEVELS), boxes["level"])
    return truth


def detections_on(predictions: pd.DataFrame, images: pd.Index) -> Detections:
    """Return the detections on images, which their keys number; those on others are left out."""
    rows = predictions[predictions["image_key"].isin(images)]
    probabilities = ["p_background", *(f"p_{name}" for name in CLASSES)]
    detections = Detections(
        _index(images, rows["image_key"]),
        rows[list(BOX)].to_numpy(np.float64),
        _index(pd.Index(CLASSES), rows["label"]),
        rows["score"].to_numpy(np.float64),
        rows[probabilities].to_numpy(np.float64),
    )
    return best_first(detections)


def _index(index: pd.Index, values: pd.Series) -> Integers:
    """Return the position of each value in `index`."""
    return index.get_indexer(pd.Index(values)).astype(np.int64)


def _area(box: Floats) -> Floats:
    area: Floats = (box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1])
    return area


def _check_belongs(table: str, keys: pd.Series, expected: pd.Series, other: str) -> None:
    foreign = ~keys.isin(expected)
    if foreign.any():
        raise UserError(
            f"{table} row {keys.index[foreign][0] + 2}",
            expected=f"an image that {other} holds too",
            came="another image",
            remedy="run the workflow, which makes both from the same cohort",
        )
