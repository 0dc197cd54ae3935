"""How well classes are distinguished: boxes, levels and patients, each with one class vector.

The first half knows no boxes: a model without a detector is evaluated by the same lines. Every
statistic is a quotient of sums over patients, so that a resample is one row of a matrix product.
The second half makes one class vector of the boxes of a level or patient.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dsnet.config.evaluate import PatientLabel
from dsnet.evaluate.average_precision import ratio
from dsnet.evaluate.scene import Flags, Floats, Integers, Scene
from dsnet.schemas import CLASSES, LEVELS

UNITS = {
    "localised": "Localised boxes, matched regardless of class",
    "level": "Levels of a patient, each from its localised boxes on all slices",
    "patient": "Patients, each from all objects that the detector reports",
}
"""What is graded, each by its likeliest class or by the probabilities of all three."""

GRADES = {
    "accuracy": "share of the units whose likeliest class is right",
    "macro_auc": "mean of the areas under the three one-vs-rest ROC curves; undefined unless all "
    "three classes occur",
    **{
        f"auc_{name}": f"area under the ROC curve of {name} against the rest, ties count half"
        for name in CLASSES
    },
    "kappa": "Cohen's kappa with quadratic weights between the true and the likeliest class",
    "sensitivity_osteoporosis": "share of the units with osteoporosis that are classified as such",
    "specificity_osteoporosis": "share of the units without osteoporosis that are classified as "
    "such",
    "sensitivity_low_bone_mass": "share of the units with osteopenia or osteoporosis that are "
    "classified as one of the two",
    "specificity_low_bone_mass": "share of the normal units that are classified as normal",
}
"""What each statistic of `grade` means. A unit without an answer counts as wrong everywhere."""


_NONE = len(CLASSES)  # the column of units without an answer
_DISTANCE = np.abs(np.arange(_NONE)[:, None] - np.arange(_NONE)).astype(np.float64)
# No answer is as bad as the worst answer.
_COST = np.column_stack([_DISTANCE, _DISTANCE.max(axis=1)]) ** 2


@dataclass(frozen=True)
class Units:
    """What is graded: things with one true class each.

    Attributes
    ----------
    truth : int64 (units,)
        Index into `schemas.CLASSES`.
    probability : float64 (units, 3)
        Of each class; rows sum to 1.
    patient : int64 (units,)
        Index of the patient.
    answered : bool (units,)
        False where no box was detected that could be graded; such a row of `probability` is even.
    """

    truth: Integers
    probability: Floats
    patient: Integers
    answered: Flags

    @property
    def predicted(self) -> Integers:
        """The likeliest class; -1 without an answer."""
        return np.where(self.answered, self.probability.argmax(axis=1), -1)

    def take(self, rows: Flags | Integers) -> "Units":
        """Return these units."""
        return Units(*(values[rows] for values in vars(self).values()))


@dataclass(frozen=True)
class Share:
    """A statistic that is a share of units: counts by patient, each float64 (patients,)."""

    numerator: Floats
    denominator: Floats

    def of(self, weights: Floats) -> Floats:
        """Return the share for each row of `weights` (samples, patients); NaN where 0 / 0."""
        return ratio(weights @ self.numerator, weights @ self.denominator)


def grade(units: Units, weights: Floats) -> dict[str, Floats]:
    """Return every statistic of `GRADES` for each row of `weights`.

    A unit without an answer is in no numerator of accuracy, sensitivity or specificity, and counts
    for kappa as the largest possible distance; areas take its row of `probability`.

    Parameters
    ----------
    units : Units
    weights : float64 (samples, patients)
        How often each patient counts, as `dsnet.evaluate.intervals.bootstrap_weights` returns.

    Returns
    -------
    dict of float64 (samples,)
        NaN where undefined: a class that does not occur, a quotient 0 / 0.

    Examples
    --------
    >>> everyone = np.ones((1, 3))
    >>> right = Units(np.arange(3), np.eye(3), np.arange(3), np.ones(3, dtype=bool))
    >>> float(grade(right, everyone)["macro_auc"][0])
    1.0
    """
    return {
        **{name: share.of(weights) for name, share in shares(units, weights.shape[1]).items()},
        **areas(units, weights),
        "kappa": _kappa(units, weights),
    }


def shares(units: Units, patients: int) -> dict[str, Share]:
    """Return, of the statistics of `GRADES` that are shares of the units, the counts by patient."""
    table = confusion(units, patients).astype(np.float64)
    of_class = table.sum(axis=2)
    true_negative = table[:, :-1, : _NONE - 1].sum(axis=(1, 2))
    low = table[:, 1:, 1:_NONE].sum(axis=(1, 2))
    return {
        "accuracy": Share(np.trace(table, axis1=1, axis2=2), table.sum(axis=(1, 2))),
        "sensitivity_osteoporosis": Share(table[:, -1, _NONE - 1], of_class[:, -1]),
        "specificity_osteoporosis": Share(true_negative, of_class[:, :-1].sum(axis=1)),
        "sensitivity_low_bone_mass": Share(low, of_class[:, 1:].sum(axis=1)),
        "specificity_low_bone_mass": Share(table[:, 0, 0], of_class[:, 0]),
    }


def areas(units: Units, weights: Floats) -> dict[str, Floats]:
    """Return ``macro_auc`` and ``auc_{class}`` of `GRADES`, each float64 (samples,)."""
    one_vs_rest = [_area(units, k, weights) for k in range(_NONE)]
    return {
        "macro_auc": np.mean(one_vs_rest, axis=0),
        **{f"auc_{name}": one_vs_rest[k] for k, name in enumerate(CLASSES)},
    }


def confusion(units: Units, patients: int) -> Integers:
    """Return the confusion matrix of each patient's units.

    Returns
    -------
    int64 (patients, 3, 4)
        Rows are the true class; columns the likeliest class, then units without an answer.
    """
    table = np.zeros((patients, _NONE, _NONE + 1), dtype=np.int64)
    np.add.at(table, (units.patient, units.truth, units.predicted), 1)  # -1 is the last column
    return table


def share_answered(units: Units, patients: int) -> Share:
    """Return how many units have an answer, by patient."""
    total = np.bincount(units.patient, minlength=patients)
    given = np.bincount(units.patient[units.answered], minlength=patients)
    return Share(given.astype(np.float64), total.astype(np.float64))


def _kappa(units: Units, weights: Floats) -> Floats:
    table = np.tensordot(weights, confusion(units, weights.shape[1]), axes=1)
    expected = np.einsum("st,sc,tc->s", table.sum(axis=2), table.sum(axis=1), _COST)
    return 1 - ratio((table * _COST).sum(axis=(1, 2)) * table.sum(axis=(1, 2)), expected)


def _area(units: Units, k: int, weights: Floats) -> Floats:
    """Return the area under the ROC curve of class `k`: how often a positive outscores a negative.

    The pairs are counted once, by the patient of the positive and that of the negative; a resample
    weighs each count by both.
    """
    positive, score, patients = units.truth == k, units.probability[:, k], weights.shape[1]
    wins = np.zeros((patients, patients))
    for other in np.unique(units.patient[~positive]):
        rivals = np.sort(score[~positive & (units.patient == other)])
        sides = [np.searchsorted(rivals, score[positive], side) for side in ("left", "right")]
        wins[:, other] = np.bincount(units.patient[positive], np.mean(sides, axis=0), patients)
    of, against = (
        weights @ np.bincount(units.patient[m], minlength=patients) for m in (positive, ~positive)
    )
    return ratio(((weights @ wins) * weights).sum(axis=1), of * against)


# From boxes to units


def graded_units(scene: Scene, *, iou: float, score: float, rule: PatientLabel) -> dict[str, Units]:
    """Return what is graded of a scene, by the keys of `UNITS`.

    Parameters
    ----------
    scene : Scene
    iou, score : float
        What an object must reach to count as a localised box.
    rule : {"mean_probability", "majority", "worst"}
        How boxes become one label, as `pool`.
    """
    return {
        "localised": localised_boxes(scene, iou=iou, score=score),
        "level": levels(scene, iou=iou, score=score, rule=rule),
        "patient": patients(scene, iou=iou, score=score, rule=rule),
    }


def localised_boxes(scene: Scene, *, iou: float, score: float) -> Units:
    """Return the annotated boxes that were localised, regardless of their predicted class.

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
    """Return the patients' annotated levels, each from its localised boxes on all slices.

    A level whose boxes differ in class counts as the most severe of them.
    """
    image, slot = np.nonzero(scene.truth.label >= 0)
    vertebra = scene.patient[image] * len(LEVELS) + scene.truth.level[image, slot]
    vertebrae, group = np.unique(vertebra, return_inverse=True)
    truth = _most_severe(scene.truth.label[image, slot], group, len(vertebrae))
    objects, slot = scene.localised(iou, score)
    hit = slot >= 0
    of = scene.patient[objects.image] * len(LEVELS) + scene.truth.level[objects.image, slot]
    vectors = class_vectors(objects.probability)[hit]
    group = np.searchsorted(vertebrae, of[hit])
    probability, answered = pool(vectors, group, len(vertebrae), rule)
    return Units(truth, probability, vertebrae // len(LEVELS), answered)


def patients(scene: Scene, *, iou: float, score: float, rule: PatientLabel) -> Units:
    """Return the patients, each from all objects that the detector reports on the slices.

    False boxes count, too: without annotations they could not be left out. The true
    class is the most severe of the patient's boxes, as in `schemas.SPLIT`.
    """
    image, slot = np.nonzero(scene.truth.label >= 0)
    annotated, group = np.unique(scene.patient[image], return_inverse=True)
    truth = _most_severe(scene.truth.label[image, slot], group, len(annotated))
    objects, _ = scene.localised(iou, score)
    of = scene.patient[objects.image]
    counts = np.isin(of, annotated)
    vectors = class_vectors(objects.probability)[counts]
    group = np.searchsorted(annotated, of[counts])
    probability, answered = pool(vectors, group, len(annotated), rule)
    return Units(truth, probability, annotated, answered)


def level_profiles(patient: Integers, level: Integers, label: Integers, patients: int) -> Integers:
    """Return each patient's class at each level, by the first box of the level, gaps filled.

    A level without a box takes the class of the nearest level that has one (of two, the upper).

    Parameters
    ----------
    patient, level, label : int64 (boxes,)
        Indices of the patient, into `schemas.LEVELS` and into `schemas.CLASSES`.
    patients : int

    Returns
    -------
    int64 (patients, levels)
    """
    cell, first = np.unique(patient * len(LEVELS) + level, return_index=True)
    profile = np.full((patients, len(LEVELS)), -1)
    profile.flat[cell] = label[first]
    step = np.arange(len(LEVELS))
    distance = np.abs(step[:, None] - step) + np.where(profile < 0, len(LEVELS), 0)[:, None]
    return np.take_along_axis(profile, distance.argmin(axis=2), axis=1)


def class_vectors(probability: Floats) -> Floats:
    """Return, from (boxes, 4) with the background first, the classes alone, renormalised.

    Examples
    --------
    >>> class_vectors(np.array([[0.5, 0.25, 0.25, 0.0]])).tolist()
    [[0.5, 0.5, 0.0]]
    """
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
    present, first = np.unique(group[order], return_index=True)
    chosen[present] = vectors[order][first]
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
