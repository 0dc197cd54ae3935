"""How well classes are told apart, whatever was classified: boxes, levels or patients.

Nothing here knows of boxes: a model without a detector is judged by the same lines. Every statistic
is a quotient of sums over patients, so that a resample is one row of a matrix product.
"""

from dataclasses import dataclass, replace

import numpy as np

from dsnet.evaluate.ap import ratio
from dsnet.evaluate.matching import Flags, Floats, Integers
from dsnet.schemas import CLASSES

BINS = 10
"""Equal-width bins of the confidence, each with its upper edge, of the calibration error."""

GRADES = {
    "accuracy": "share of the units whose likeliest class is right",
    "macro_auc": "mean of the areas under the three one-vs-rest ROC curves; undefined unless all "
    "three classes occur",
    **{
        f"auc_{name}": f"area under the ROC curve of {name} against the rest, ties count half"
        for name in CLASSES
    },
    "kappa": "Cohen's kappa with quadratic weights between the true and the likeliest class",
    "sensitivity_osteoporosis": "share of the units with osteoporosis that are called so",
    "specificity_osteoporosis": "share of the units without osteoporosis that are called so",
    "sensitivity_low_bone_mass": "share of the units with osteopenia or osteoporosis that are "
    "called one of the two",
    "specificity_low_bone_mass": "share of the normal units that are called normal",
    "ece": f"expected calibration error of the likeliest class, {BINS} equal-width bins",
    "brier": "Brier score, the sum over the three classes, in [0, 2]",
}
"""What each statistic of `grade` means. A unit without an answer counts as wrong everywhere."""


_NONE = len(CLASSES)  # the column of units without an answer
_DISTANCE = np.abs(np.arange(_NONE)[:, None] - np.arange(_NONE)).astype(np.float64)
# No answer is as bad as the worst answer.
_COST = np.column_stack([_DISTANCE, _DISTANCE.max(axis=1)]) ** 2


@dataclass(frozen=True)
class Units:
    """Things with one true class each.

    Attributes
    ----------
    truth : int64 (units,)
        Index into `schemas.CLASSES`.
    probability : float64 (units, 3)
        Of each class; rows sum to 1.
    patient : int64 (units,)
        Index of the patient.
    answered : bool (units,)
        False where nothing was found to classify; such a row of `probability` is even.
    """

    truth: Integers
    probability: Floats
    patient: Integers
    answered: Flags

    @property
    def called(self) -> Integers:
        """The likeliest class; -1 without an answer."""
        return np.where(self.answered, self.probability.argmax(axis=1), -1)

    def with_probability(self, probability: Floats) -> "Units":
        """Return the same units with other class vectors."""
        return replace(self, probability=probability)


def grade(
    truth: Integers,
    probability: Floats,
    patient: Integers,
    weights: Floats,
    *,
    answered: Flags | None = None,
) -> dict[str, Floats]:
    """Return every statistic of `GRADES` for each row of `weights`.

    Parameters
    ----------
    truth : int64 (units,)
        Index into `schemas.CLASSES`.
    probability : float64 (units, 3)
        Of each class; rows sum to 1.
    patient : int64 (units,)
        Index into the columns of `weights`.
    weights : float64 (samples, patients)
        How often each patient counts, as `dsnet.evaluate.bootstrap.weights` returns.
    answered : bool (units,), optional
        False where nothing was found to classify: such a unit is in no numerator of accuracy,
        sensitivity or specificity, and for kappa as far off as can be; areas and calibration take
        its row of `probability`. All, unless given.

    Returns
    -------
    dict of float64 (samples,)
        NaN where undefined: a class that does not occur, a quotient 0 / 0.
    """
    given = np.ones(len(truth), dtype=np.bool_) if answered is None else answered
    units = Units(truth, probability, patient, given)
    areas = [_area(units, k, weights) for k in range(_NONE)]
    return {
        **_of_table(np.tensordot(weights, confusion(units, weights.shape[1]), axes=1)),
        "macro_auc": np.mean(areas, axis=0),
        **{f"auc_{name}": areas[k] for k, name in enumerate(CLASSES)},
        "ece": calibration_error(units, weights),
        "brier": _brier(units, weights),
    }


def confusion(units: Units, patients: int) -> Integers:
    """Return the confusion matrix of each patient's units.

    Returns
    -------
    int64 (patients, 3, 4)
        Rows are the true class; columns the likeliest class, then units without an answer.
    """
    table = np.zeros((patients, _NONE, _NONE + 1), dtype=np.int64)
    np.add.at(table, (units.patient, units.truth, units.called), 1)  # -1 is the last column
    return table


def reliability(units: Units, patients: int) -> Floats:
    """Return, by patient and bin of the confidence, what a calibration curve is made of.

    Returns
    -------
    float64 (3, patients, BINS)
        Units, the sum of their confidences, and how many of them are right. The confidence is the
        probability of the likeliest class.
    """
    confidence = units.probability.max(axis=1)
    right = units.called == units.truth
    place = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence)
    sums = np.zeros((3, patients, BINS))
    for row, values in enumerate((np.ones(len(right)), confidence, right)):
        np.add.at(sums[row], (units.patient, place), values)
    return sums


def calibration_error(units: Units, weights: Floats) -> Floats:
    """Return the mean distance of confidence and accuracy over the bins, each by its units."""
    count, confidence, right = reliability(units, weights.shape[1])
    distance = np.abs(weights @ confidence - weights @ right).sum(axis=1)
    return ratio(distance, (weights @ count).sum(axis=1))


def _of_table(table: Floats) -> dict[str, Floats]:
    """Return what hangs on the likeliest class alone, from (samples, 3, 4)."""
    total, of_class = table.sum(axis=(1, 2)), table.sum(axis=2)
    other = table[:, :-1, : _NONE - 1].sum(axis=(1, 2))
    low = table[:, 1:, 1:_NONE].sum(axis=(1, 2))
    expected = np.einsum("st,sc,tc->s", of_class, table.sum(axis=1), _COST)
    return {
        "accuracy": ratio(np.trace(table, axis1=1, axis2=2), total),
        "kappa": 1 - ratio((table * _COST).sum(axis=(1, 2)) * total, expected),
        "sensitivity_osteoporosis": ratio(table[:, -1, _NONE - 1], of_class[:, -1]),
        "specificity_osteoporosis": ratio(other, of_class[:, :-1].sum(axis=1)),
        "sensitivity_low_bone_mass": ratio(low, of_class[:, 1:].sum(axis=1)),
        "specificity_low_bone_mass": ratio(table[:, 0, 0], of_class[:, 0]),
    }


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


def _brier(units: Units, weights: Floats) -> Floats:
    squares = ((units.probability - np.eye(_NONE)[units.truth]) ** 2).sum(axis=1)
    total, count = (
        weights @ np.bincount(units.patient, values, weights.shape[1])
        for values in (squares, np.ones(len(squares)))
    )
    return ratio(total, count)
