"""What is graded by its class: boxes found, vertebrae and patients, each with one class vector."""

from collections.abc import Callable

import numpy as np

from dsnet.config.evaluate import PatientLabel
from dsnet.evaluate.grading import Units
from dsnet.evaluate.matching import Flags, Floats, Integers
from dsnet.evaluate.scene import Scene
from dsnet.schemas import CLASSES, LEVELS


def found(scene: Scene, *, iou: float, score: float) -> Units:
    """Return the annotated boxes that were found, whatever class they were given.

    Their class vector is the detector's without the background, renormalised.
    """
    objects, slot = scene.localised(iou, score)
    hit = slot >= 0
    return Units(
        scene.truth.label[objects.image, slot][hit],
        class_vectors(objects.probability)[hit],
        scene.patient[objects.image][hit],
        np.ones(int(hit.sum()), dtype=np.bool_),
    )


def levels(scene: Scene, *, iou: float, score: float, rule: PatientLabel) -> Units:
    """Return the patients' annotated levels, each from the boxes found of it on all slices.

    A level whose boxes differ in class counts as the most severe of them.
    """
    image, slot = np.nonzero(scene.truth.label >= 0)
    vertebra = scene.patient[image] * len(LEVELS) + scene.truth.level[image, slot]
    known, place = np.unique(vertebra, return_inverse=True)
    truth = _most_severe(scene.truth.label[image, slot], place, len(known))
    objects, slot = scene.localised(iou, score)
    hit = slot >= 0
    of = scene.patient[objects.image] * len(LEVELS) + scene.truth.level[objects.image, slot]
    vectors = class_vectors(objects.probability)[hit]
    probability, answered = pool(vectors, np.searchsorted(known, of[hit]), len(known), rule)
    return Units(truth, probability, known // len(LEVELS), answered)


def patients(scene: Scene, *, iou: float, score: float, rule: PatientLabel) -> Units:
    """Return the patients, each from all objects that the detector reports on the slices.

    False boxes count, too: where there are no annotations nobody could leave them out. The true
    class is the most severe of the patient's boxes, as in `schemas.SPLIT`.
    """
    image, slot = np.nonzero(scene.truth.label >= 0)
    known, place = np.unique(scene.patient[image], return_inverse=True)
    truth = _most_severe(scene.truth.label[image, slot], place, len(known))
    objects, _ = scene.localised(iou, score)
    of = scene.patient[objects.image]
    judged = np.isin(of, known)
    vectors = class_vectors(objects.probability)[judged]
    probability, answered = pool(vectors, np.searchsorted(known, of[judged]), len(known), rule)
    return Units(truth, probability, known, answered)


def class_vectors(probability: Floats) -> Floats:
    """Return, from (boxes, 4) with the background first, the classes alone, renormalised."""
    classes = probability[:, 1:]
    total = classes.sum(axis=1, keepdims=True)
    vectors: Floats = np.full(classes.shape, 1 / len(CLASSES))
    np.divide(classes, total, out=vectors, where=total > 0)
    return vectors


def pool(vectors: Floats, group: Integers, groups: int, rule: PatientLabel) -> tuple[Floats, Flags]:
    """Return one class vector for each group of boxes.

    Parameters
    ----------
    vectors : float64 (boxes, 3)
        Rows sum to 1.
    group : int64 (boxes,)
    groups : int
    rule : {"mean_probability", "majority", "worst"}
        The mean of the vectors; the share of the boxes by likeliest class, the mean counting as one
        box more (it breaks ties); the surest vector of the most severe likeliest class.

    Returns
    -------
    probability : float64 (groups, 3)
        Rows sum to 1; alike for all classes in a group without boxes.
    answered : bool (groups,)
        Whether a group has boxes.
    """
    probability = np.full((groups, len(CLASSES)), 1 / len(CLASSES))
    answered = np.bincount(group, minlength=groups) > 0
    probability[answered] = _POOL[rule](vectors, group, groups)[answered]
    return probability, answered


def _mean(vectors: Floats, group: Integers, groups: int) -> Floats:
    count = np.maximum(np.bincount(group, minlength=groups), 1)
    return _total(vectors, group, groups) / count[:, None]


def _majority(vectors: Floats, group: Integers, groups: int) -> Floats:
    votes = np.eye(len(CLASSES))[vectors.argmax(axis=1)]
    ballot = _total(votes, group, groups) + _mean(vectors, group, groups)
    return ballot / (1 + np.bincount(group, minlength=groups)[:, None])


def _worst(vectors: Floats, group: Integers, groups: int) -> Floats:
    order = np.lexsort((-vectors.max(axis=1), -vectors.argmax(axis=1), group))
    chosen = np.zeros((groups, len(CLASSES)))
    known, first = np.unique(group[order], return_index=True)
    chosen[known] = vectors[order][first]
    return chosen


_POOL: dict[PatientLabel, Callable[[Floats, Integers, int], Floats]] = {
    "mean_probability": _mean,
    "majority": _majority,
    "worst": _worst,
}


def _total(vectors: Floats, group: Integers, groups: int) -> Floats:
    total = np.zeros((groups, vectors.shape[1]))
    np.add.at(total, group, vectors)
    return total


def _most_severe(label: Integers, group: Integers, groups: int) -> Integers:
    worst = np.zeros(groups, dtype=np.int64)
    np.maximum.at(worst, group, label)
    return worst
