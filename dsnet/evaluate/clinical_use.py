"""Whether a detector is of use in the clinic, and whether there were enough patients to say so.

Net benefit (A. J. Vickers and E. B. Elkin, Med. Decis. Making 26, 565-574, 2006): is sending
patients to DXA by a detector better than sending all or none? Of the patients, those are sent whose
probability of osteoporosis reaches a threshold. The threshold says what a missed osteoporosis
weighs: at 0.2 as much as four DXA examinations of patients without it.

Sample size, two questions. How precise are the figures: the half width of each interval, and the
patients that a half width of 5 points takes. And do the criteria of Riley et al. hold for the test
of a model that predicts osteoporosis: R. D. Riley et al., "Minimum sample size for external
validation of a clinical prediction model with a binary outcome", Stat. Med. 40, 4230-4251, 2021.
Their criteria for the DEVELOPMENT of a model (BMJ 368, m441, 2020) count candidate predictors,
which a network has not, and are not given.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import stats

from dsnet.evaluate.average_precision import ratio
from dsnet.evaluate.grading import Units
from dsnet.evaluate.intervals import TAIL, clopper_pearson, number
from dsnet.evaluate.scene import Floats
from dsnet.schemas import CLASSES

THRESHOLDS = np.round(np.arange(0.02, 0.61, 0.02), 2)
"""Probabilities of osteoporosis from which a patient is sent to DXA."""

HALF_WIDTH = 0.05
"""That is aimed at: 5 points."""

OE_WIDTH, SLOPE_WIDTH, C_WIDTH = 0.2, 0.4, 0.1
"""Widths of 95 % intervals that Riley et al. aim at: of observed by expected, of the calibration
slope, and of the C statistic."""

STATISTICS = (
    "map",
    "patient_accuracy",
    "patient_auc_osteoporosis",
    "patient_sensitivity_osteoporosis",
    "patient_specificity_osteoporosis",
)

_QUANTILE = float(stats.norm.ppf(1 - TAIL))
_SMALLEST = 1e-6  # probability: its logit stays finite
_FEWEST_VALUES = 3


def decision_curve(units: Units, weights: Floats) -> dict[str, Any]:
    """Return the net benefit of a detector at each of `THRESHOLDS`, by patient.

    Patients without an answer count as decided wrongly, as everywhere.

    Parameters
    ----------
    units : Units
        Of patients.
    weights : float64 (1 + resamples, patients)
        As `dsnet.evaluate.intervals.bootstrap_weights` returns them.

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
    made = {"all": everyone[0]}
    for value, low, high, sampled in (
        ("value", "low", "high", benefit),
        ("gain", "gain_low", "gain_high", gain),
    ):
        made[value] = sampled[0]
        made[low], made[high] = np.quantile(sampled[1:], [TAIL, 1 - TAIL], axis=0)
    return {
        "prevalence": number(prevalence[0]),
        "threshold": THRESHOLDS.tolist(),
        **{name: [number(value) for value in values] for name, values in made.items()},
    }


def precision(metrics: Mapping[str, Any], patients: Mapping[str, int]) -> dict[str, Any]:
    """Return for each of `STATISTICS` its half width and the patients that `HALF_WIDTH` takes.

    Parameters
    ----------
    metrics : mapping
        As in a metrics file.
    patients : mapping of str to int
        Test patients by class.

    Returns
    -------
    dict of dict
        ``patients``, on how many the statistic rests (of one class for sensitivity and
        specificity); ``half_width`` of its interval; ``needed``, on how many it would have to rest;
        ``test_patients``, how many of all classes that is at this prevalence. None where undefined.
        Half widths shrink with the square root of the patients; those of proportions are the exact
        ones (Clopper-Pearson) at the proportion that was found.
    """
    total, positive = sum(patients.values()), patients[CLASSES[-1]]
    bases = {"sensitivity": positive, "specificity": total - positive}
    made = {}
    for name in (name for name in STATISTICS if name in metrics):
        base = next((count for word, count in bases.items() if word in name), total)
        value, low, high = (metrics[name][bound] for bound in ("value", "low", "high"))
        half = None if low is None or high is None else (high - low) / 2
        needed: int | None = None
        if value is not None and ("accuracy" in name or any(word in name for word in bases)):
            needed = proportion_needs(value)
        elif half is not None:
            needed = math.ceil(base * (half / HALF_WIDTH) ** 2)
        whole = None if needed is None or not base else math.ceil(needed * total / base)
        made[name] = {
            "patients": base,
            "half_width": number(half),
            "needed": needed,
            "test_patients": whole,
        }
    return made


def proportion_needs(proportion: float, half_width: float = HALF_WIDTH) -> int:
    """Return the patients with whom the exact interval of a proportion is so narrow.

    Half of the whole width counts, since an exact interval is not symmetric.

    Examples
    --------
    >>> proportion_needs(0.5)
    402
    """

    def half(count: int) -> float:
        low, high = clopper_pearson(proportion * count, count)
        return (high - low) / 2

    return _fewest(half, half_width)


def riley(units: Units, c_statistic: float | None) -> dict[str, dict[str, Any]]:
    """Return the patients that each criterion for the test of a binary prediction model asks for.

    Parameters
    ----------
    units : Units
        Of patients; their probability of osteoporosis is the prediction.
    c_statistic : float or None
        Area under the ROC curve of osteoporosis, as expected in the test.

    Returns
    -------
    dict of dict
        By criterion (``observed_by_expected``, ``calibration_slope``, ``c_statistic``) its
        ``target`` in words and the patients ``needed``, None where that is undefined.
    """
    prevalence = float((units.truth == len(CLASSES) - 1).mean()) if len(units.truth) else 0.0
    odd = not 0 < prevalence < 1
    predicted = np.clip(units.probability[:, -1], _SMALLEST, 1 - _SMALLEST)
    needs = {
        "observed_by_expected": None if odd else oe_needs(prevalence),
        "calibration_slope": None if odd else slope_needs(predicted),
        "c_statistic": None if odd or c_statistic is None else c_needs(prevalence, c_statistic),
    }
    targets = (
        f"interval of observed by expected osteoporosis {OE_WIDTH:g} wide about 1",
        f"interval of the calibration slope {SLOPE_WIDTH:g} wide",
        f"interval of the C statistic {C_WIDTH:g} wide",
    )
    return {
        name: {"target": target, "needed": needed}
        for (name, needed), target in zip(needs.items(), targets, strict=True)
    }


def oe_needs(prevalence: float, width: float = OE_WIDTH) -> int:
    """Return the patients for observed by expected (criterion 1).

    Examples
    --------
    >>> oe_needs(0.5)
    386
    """
    # exp(+z s) - exp(-z s) is the width of the interval about 1.
    error = math.asinh(width / 2) / _QUANTILE
    return math.ceil((1 - prevalence) / (prevalence * error**2))


def slope_needs(predicted: Floats) -> int | None:
    """Return the patients for the calibration slope (criterion 2), were it 1 and calibrated.

    None where predictions take fewer than three values, as those of a rule do.
    """
    logit = np.log(predicted / (1 - predicted))
    weight = predicted * (1 - predicted)
    constant, both, slope = (float((weight * logit**power).mean()) for power in (0, 1, 2))
    information = constant * slope - both**2
    if len(np.unique(predicted)) < _FEWEST_VALUES:
        return None
    return math.ceil(constant / (information * (SLOPE_WIDTH / (2 * _QUANTILE)) ** 2))


def c_needs(prevalence: float, c_statistic: float) -> int | None:
    """Return the patients for the C statistic (criterion 3), by the standard error of Newcombe.

    None for a C statistic of 1, whose standard error is 0.
    """
    if c_statistic >= 1:
        return None
    c, error = c_statistic, C_WIDTH / (2 * _QUANTILE)

    def of(count: int) -> float:
        half = count / 2 - 1
        inner = 1 + half * (1 - c) / (2 - c) + half * c / (1 + c)
        return math.sqrt(c * (1 - c) * inner / (count**2 * prevalence * (1 - prevalence)))

    return _fewest(of, error)


def _fewest(width: Callable[[int], float], limit: float) -> int:
    """Return the fewest patients, two at least, of whom a falling `width` is within `limit`."""
    few, enough = 1, 2
    while width(enough) > limit:
        few, enough = enough, 2 * enough
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if width(middle) <= limit else (middle, enough)
    return enough
