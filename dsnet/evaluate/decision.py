"""Net benefit: whether sending patients to DXA by a detector is better than sending all or none.

A. J. Vickers and E. B. Elkin, Med. Decis. Making 26, 565-574, 2006. Of the patients, those are sent
whose probability of osteoporosis reaches a threshold. The threshold says what a missed osteoporosis
weighs: at 0.2 as much as four DXA examinations of patients without it.
"""

from typing import Any

import numpy as np

from dsnet.evaluate.average_precision import ratio
from dsnet.evaluate.grading import Units
from dsnet.evaluate.resampling import COVERAGE, number
from dsnet.evaluate.scene import Floats
from dsnet.schemas import CLASSES

THRESHOLDS = np.round(np.arange(0.02, 0.61, 0.02), 2)
"""Probabilities of osteoporosis from which a patient is sent to DXA."""


def decision_curve(units: Units, weights: Floats) -> dict[str, Any]:
    """Return the net benefit of a detector at each of `THRESHOLDS`, by patient.

    Patients without an answer count as decided wrongly, as everywhere.

    Parameters
    ----------
    units : Units
        Of patients.
    weights : float64 (1 + resamples, patients)
        As `dsnet.evaluate.resampling.bootstrap_weights` returns them.

    Returns
    -------
    dict
        ``prevalence`` of osteoporosis in the subset, to which every figure is bound; lists of one
        length: ``threshold``; ``all``, the net benefit of DXA for all (that of DXA for none is 0);
        ``value``, ``low`` and ``high``, the detector's; and the same of its difference to the
        better one of all and none, ``gain``, ``gain_low`` and ``gain_high``. Intervals are those of
        the percentile bootstrap over patients.

    Examples
    --------
    >>> right = Units(np.arange(3), np.eye(3), np.arange(3), np.ones(3, dtype=bool))
    >>> made = decision_curve(right, np.ones((2, 3)))
    >>> made["threshold"][9], made["all"][9], made["value"][9]
    (0.2, 0.16666667, 0.33333333)
    """
    patients = weights.shape[1]
    positive = units.truth == len(CLASSES) - 1
    count = weights @ np.bincount(units.patient, minlength=patients)
    prevalence = ratio(weights @ np.bincount(units.patient[positive], minlength=patients), count)
    odds = THRESHOLDS / (1 - THRESHOLDS)
    sent = units.probability[:, -1, None] >= THRESHOLDS
    sent = np.where(units.answered[:, None], sent, ~positive[:, None])
    worth = np.where(positive[:, None], 1.0, -odds) * sent
    by_patient = np.zeros((patients, len(THRESHOLDS)))
    np.add.at(by_patient, units.patient, worth)
    benefit = ratio(weights @ by_patient, count[:, None])
    everyone = prevalence[:, None] - (1 - prevalence[:, None]) * odds
    gain = benefit - np.maximum(everyone, 0)
    return {
        "prevalence": number(prevalence[0]),
        "threshold": THRESHOLDS.tolist(),
        "all": _numbers(everyone[0]),
        **{
            f"{name}{suffix}": values
            for name, sampled in (("", benefit), ("gain", gain))
            for suffix, values in _bounds(name, sampled).items()
        },
    }


def _bounds(name: str, sampled: Floats) -> dict[str, list[float | None]]:
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(sampled[1:], [tail, 1 - tail], axis=0)
    names = ("", "_low", "_high") if name else ("value", "low", "high")
    return dict(zip(names, map(_numbers, (sampled[0], low, high)), strict=True))


def _numbers(values: Floats) -> list[float | None]:
    return [number(value) for value in values]
