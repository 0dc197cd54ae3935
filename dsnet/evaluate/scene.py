"""What is to be judged: the images of one part, their ground truths and their detections."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from dsnet import schemas
from dsnet.errors import UserError
from dsnet.evaluate.matching import Flags, Floats, Integers, iou, match, place, suppress
from dsnet.schemas import BOX, CLASSES, LEVELS

SUPPRESSION_IOU = 0.5
"""Above it two boxes of whatever class are one object: torchvision's ``box_nms_thresh``."""


MAX_DETECTIONS = 100
"""Only so many detections of an image and class count, the best ones (COCO's ``maxDets``)."""


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
    """Detections, those of an image together, the best score first.

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
        return Detections(
            self.image[rows],
            self.box[rows],
            self.label[rows],
            self.score[rows],
            self.probability[rows],
        )

    def ties(self) -> tuple[Floats, ...]:
        """Return what orders equal scores, the last key first: edges, then probabilities."""
        return (*self.probability.T[::-1], *self.box.T[::-1])


@dataclass(frozen=True)
class Scene:
    """The images of one part.

    Images stand in the order of the slice store and patients in the order of their first image, so
    that neither ties nor resamples hang on the secret behind the keys.

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
    def alone(self) -> Detections:
        """The detections with their class set aside: each found object once.

        The score is the probability of being no background, the label the likeliest class. Boxes
        of whatever class that overlap by more than `SUPPRESSION_IOU` are one object, which keeps
        the box of the best score and, of equals (one proposal gives a box per class), the box of
        the likelier class.
        """
        every = self.detections
        sure = 1 - every.probability[:, 0]
        likeliest = every.probability[:, 1:].argmax(axis=1).astype(np.int64)
        order = np.lexsort((*every.ties(), -every.score, -sure, every.image))
        objects = Detections(every.image, every.box, likeliest, sure, every.probability)
        objects = objects.take(order)
        objects = objects.take(suppress(objects.box, objects.image, SUPPRESSION_IOU))
        return objects.take(place(objects.image) < MAX_DETECTIONS)

    def localised(self, iou: float, score: float) -> tuple[Detections, Integers]:
        """Return the objects of at least `score` and the slots that they take, whatever the class.

        Returns
        -------
        objects : Detections
            Of `alone`.
        slot : int64 (objects,)
            -1 for a false box.
        """
        objects = self.alone.take(self.alone.score >= score)
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
    drawn = schemas.read(schemas.SLICES, boxes)
    parts = schemas.read(schemas.SPLIT, split)
    mine = parts[parts["subset"] == subset]
    if mine.empty:
        raise UserError(
            split.name,
            expected=f"images in the subset {subset!r}, one of {', '.join(schemas.SUBSETS)}",
            came="none",
            remedy="name another subset, or split anew",
        )
    _belongs(split.name, mine["image_key"], drawn["image_key"], "slices.csv")
    scenes = []
    for file in files:
        detected = schemas.read(schemas.PREDICTIONS, file)
        _belongs(file.name, detected["image_key"], parts["image_key"], "split.csv")
        scenes.append(scene(detected, drawn, mine))
    return scenes


def scene(detected: pd.DataFrame, drawn: pd.DataFrame, parts: pd.DataFrame) -> Scene:
    """Return the scene of the images in `parts`; rows of other images are left out.

    Parameters
    ----------
    detected, drawn, parts : DataFrame
        Under `schemas.PREDICTIONS`, `schemas.SLICES` and `schemas.SPLIT`; the order of their
        rows does not matter.
    """
    drawn = drawn.sort_values(["row", "level"])
    patient_of = parts.set_index("image_key")["patient_key"]
    drawn = drawn[drawn["image_key"].isin(patient_of.index)]
    images = pd.Index(drawn["image_key"].unique())
    patient, keys = pd.factorize(patient_of.loc[images])
    return Scene(
        patient.astype(np.int64),
        tuple(keys),
        _truth(drawn, images),
        _detections(detected, images),
        drawn.drop_duplicates("image_key")["row"].to_numpy(np.int64),
    )


def best_first(detections: Detections) -> Detections:
    """Return the detections as a `Scene` wants them: sorted, `MAX_DETECTIONS` at most."""
    keys = (*detections.ties(), detections.label, -detections.score, detections.image)
    ordered = detections.take(np.lexsort(keys))
    counts = place(ordered.image * len(CLASSES) + ordered.label) < MAX_DETECTIONS
    return ordered.take(counts)


def _truth(drawn: pd.DataFrame, images: pd.Index) -> Truth:
    image = _index(images, drawn["image_key"])
    slot = place(image)
    shape = (len(images), int(slot.max(initial=0)) + 1)
    truth = Truth(np.zeros((*shape, 4)), np.full(shape, -1), np.full(shape, -1))
    truth.box[image, slot] = drawn[list(BOX)].to_numpy(np.float64)
    truth.label[image, slot] = _index(pd.Index(CLASSES), drawn["label"])
    truth.level[image, slot] = _index(pd.Index(LEVELS), drawn["level"])
    return truth


def _detections(detected: pd.DataFrame, images: pd.Index) -> Detections:
    rows = detected[detected["image_key"].isin(images)]
    probabilities = ["p_background", *(f"p_{name}" for name in CLASSES)]
    detections = Detections(
        _index(images, rows["image_key"]),
        rows[list(BOX)].to_numpy(np.float64),
        _index(pd.Index(CLASSES), rows["label"]),
        rows["score"].to_numpy(np.float64),
        rows[probabilities].to_numpy(np.float64),
    )
    return best_first(detections)


def _index(known: pd.Index, values: pd.Series) -> Integers:
    """Return the place of each value in `known`."""
    return known.get_indexer(pd.Index(values)).astype(np.int64)


def _belongs(table: str, keys: pd.Series, known: pd.Series, other: str) -> None:
    strange = ~keys.isin(known)
    if strange.any():
        raise UserError(
            f"{table} row {keys.index[strange][0] + 2}",
            expected=f"an image that {other} holds too",
            came="another image",
            remedy="run the workflow, which makes both from the same cohort",
        )
