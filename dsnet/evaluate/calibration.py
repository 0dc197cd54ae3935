"""Whether probabilities mean what they say: calibration statistics, and temperature scaling.

The confidence is the probability of the likeliest class; calibrated, it is the share of the units
for which that class is right. Temperature scaling (C. Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017) divides all logits by one number, which leaves the ranking of the classes as
it is.
"""

from dataclasses import replace

import numpy as np
from scipy.optimize import brentq

from dsnet.evaluate.average_precision import ratio
from dsnet.evaluate.grading import Units
from dsnet.evaluate.scene import Flags, Floats
from dsnet.schemas import CLASSES

BINS = 10
"""Equal-width bins of the confidence, each with its upper edge, of the calibration error."""

CALIBRATION = {
    "brier": "Brier score, the sum over the three classes, in [0, 2]",
    "calibration_intercept": "intercept of a logistic regression of whether the likeliest class is "
    "right, with the logit of its probability as offset; 0 is calibrated, below 0 overconfident",
    "calibration_slope": "slope of a logistic regression of whether the likeliest class is right "
    "on the logit of its probability; 1 is calibrated, below 1 too extreme; undefined where that "
    "probability separates right from wrong",
    "ece": f"expected calibration error of the likeliest class, {BINS} equal-width bins; biased "
    "upwards",
    "ece_debiased": f"root mean square calibration error of the likeliest class, {BINS} "
    "equal-width bins, without the products of a patient with itself that bias its square upwards",
}
"""What each statistic of `calibration` means. A unit without an answer counts as wrong."""

_SMALLEST = 1e-12  # probability: its logarithm stays finite
_LARGEST = 100.0  # inverse temperature
_DISTINCT = 1e-6  # logits that differ less are the same
_RIDGE = 1e-12  # keeps a matrix of vanishing probabilities invertible
_STEPS = 100
_CONVERGED = 1e-9  # largest change of a logit in the last step


def calibration(units: Units, weights: Floats) -> dict[str, Floats]:
    """Return every statistic of `CALIBRATION` for each row of `weights`.

    Parameters
    ----------
    units : Units
    weights : float64 (samples, patients)
        How often each patient counts.

    Returns
    -------
    dict of float64 (samples,)
        NaN where undefined.
    """
    intercept, slope = recalibration(units, weights)
    return {
        "brier": _brier(units, weights),
        "calibration_intercept": intercept,
        "calibration_slope": slope,
        "ece": calibration_error(units, weights),
        "ece_debiased": debiased_calibration_error(units, weights),
    }


def reliability(units: Units, patients: int) -> Floats:
    """Return, by patient and bin of the confidence, what a calibration curve is made of.

    Returns
    -------
    float64 (3, patients, BINS)
        Units, the sum of their confidences, and how many of them are right. The confidence is the
        probability of the likeliest class.
    """
    confidence = units.probability.max(axis=1)
    right = units.predicted == units.truth
    bin_index = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence)
    sums = np.zeros((3, patients, BINS))
    for row, values in enumerate((np.ones(len(right)), confidence, right)):
        np.add.at(sums[row], (units.patient, bin_index), values)
    return sums


def calibration_error(units: Units, weights: Floats) -> Floats:
    """Return the mean distance of confidence and accuracy over the bins, each by its units.

    M. P. Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI
    2015. Noise makes it positive: bins of few units look miscalibrated although they are not.
    """
    count, confidence, right = reliability(units, weights.shape[1])
    distance = np.abs(weights @ confidence - weights @ right).sum(axis=1)
    return ratio(distance, (weights @ count).sum(axis=1))


def debiased_calibration_error(units: Units, weights: Floats) -> Floats:
    """Return the root mean square calibration error over the bins, its square debiased.

    The square of a bin's distance is a sum over all pairs of patients, in which the pairs of a
    patient with itself are never negative. Without them it is unbiased, for patients as the units
    that are sampled; where it is negative the error is 0. After A. Kumar, P. Liang and T. Ma,
    "Verified Uncertainty Calibration", NeurIPS 2019, who leave out the pairs of a unit with itself.
    """
    count, confidence, right = reliability(units, weights.shape[1])
    distance, counts = confidence - right, weights @ count
    patients = weights.sum(axis=1)[:, None]
    pairs = (weights @ distance) ** 2 - weights @ distance**2
    pairs *= ratio(patients, patients - 1)
    square = np.where(counts > 0, ratio(pairs, counts), 0).sum(axis=1)
    return np.sqrt(np.maximum(ratio(square, counts.sum(axis=1)), 0))


def recalibration(units: Units, weights: Floats) -> tuple[Floats, Floats]:
    """Return the calibration intercept and slope of the likeliest class.

    D. R. Cox, "Two further applications of a model for binary regression", Biometrika 45, 1958: the
    coefficients of a logistic regression of "is right" on the logit of the confidence, as B. Van
    Calster et al., "Calibration: the Achilles heel of predictive analytics", BMC Med. 17, 2019,
    recommend. The intercept is that of the regression whose slope is 1.

    Returns
    -------
    intercept, slope : float64 (samples,)
        NaN where all are right or all are wrong; the slope also where the confidence separates
        them, or is the same for all.
    """
    right = units.predicted == units.truth
    confidence = np.clip(units.probability.max(axis=1), _SMALLEST, 1 - _SMALLEST)
    logit = np.log(confidence / (1 - confidence))
    weight = weights[:, units.patient]
    lowest, highest = (
        [
            limit(np.where((weight > 0) & group, logit, none), axis=1, initial=none)
            for group in (right, ~right)
        ]
        for limit, none in ((np.min, np.inf), (np.max, -np.inf))
    )
    mixed = np.isfinite(lowest[0]) & np.isfinite(lowest[1])
    overlapping = np.minimum(highest[1] - lowest[0], highest[0] - lowest[1]) > _DISTINCT
    intercept, slope = np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    constant = np.ones((1, len(right)))
    if mixed.any():
        intercept[mixed] = _logistic(constant, right, weight[mixed], logit)[:, 0]
    if overlapping.any():
        standard = (logit - logit.mean()) / logit.std()
        design = np.concatenate([constant, standard[None]])
        coefficients = _logistic(design, right, weight[overlapping], 0 * logit)
        slope[overlapping] = coefficients[:, 1] / logit.std()
    return intercept, slope


def _logistic(design: Floats, right: Flags, weight: Floats, offset: Floats) -> Floats:
    """Return the coefficients of weighted logistic regressions by Newton's method.

    Parameters
    ----------
    design : float64 (coefficients, units)
    right : bool (units,)
    weight : float64 (samples, units)
        Each row must have a finite solution.
    offset : float64 (units,)

    Returns
    -------
    float64 (samples, coefficients)
        NaN where `_STEPS` steps do not reach it.
    """
    coefficients = np.zeros((len(weight), len(design)))
    change = np.full(len(weight), np.inf)
    for _ in range(_STEPS):
        probability = 1 / (1 + np.exp(-(coefficients @ design + offset)))
        gradient = (weight * (right - probability)) @ design.T
        information = np.einsum(
            "su,pu,qu->spq", weight * probability * (1 - probability), design, design
        )
        information += _RIDGE * np.eye(len(design))
        step = np.linalg.solve(information, gradient[..., None])[..., 0]
        # A whole step overshoots where probabilities are near 0 or 1.
        change = np.abs(step @ design).max(axis=1, initial=0.0)
        coefficients += step / np.maximum(change, 1)[:, None]
        if (change < _CONVERGED).all():
            break
    return np.where(change[:, None] < _CONVERGED, coefficients, np.nan)


def _brier(units: Units, weights: Floats) -> Floats:
    squares = ((units.probability - np.eye(len(CLASSES))[units.truth]) ** 2).sum(axis=1)
    total, count = (
        weights @ np.bincount(units.patient, values, weights.shape[1])
        for values in (squares, np.ones(len(squares)))
    )
    return ratio(total, count)


# Temperature scaling


def fit_temperature(units: Units) -> float | None:
    """Return the temperature under which the true classes are likeliest.

    Parameters
    ----------
    units : Units
        Not those that the temperature is then evaluated on (`cross_fitted`).

    Returns
    -------
    float or None
        In (0.01, inf). None where no temperature is best: without a box, if (nearly) all are right
        (the smaller the better), or if the probabilities are less informative than equal ones (the
        larger the better).

    Notes
    -----
    The logarithms of the probabilities are the logits up to a constant, and the likelihood is
    concave in the inverse temperature, so that its slope has one root at most.
    """
    if not len(units.truth):
        return None
    logit = np.log(np.maximum(units.probability, _SMALLEST))
    true_logit = np.take_along_axis(logit, units.truth[:, None], axis=1)[:, 0]

    def slope(inverse: float) -> float:
        expected = (_softmax(inverse * logit) * logit).sum(axis=1)
        return float((expected - true_logit).mean())

    if slope(0) >= 0 or slope(_LARGEST) <= 0:
        return None
    return 1 / float(brentq(slope, 0, _LARGEST, xtol=1e-10))


def cross_fitted(units: Units) -> Units | None:
    """Return the units scaled, each patient by the temperature that suits all other patients.

    What is evaluated is thus scaling by a temperature from other patients, whose images chose
    neither the epoch nor anything else: the validation subset, which chose the epoch, looks
    better calibrated than new patients. None without units, or where a temperature is undefined.
    """
    if not len(units.truth):
        return None
    probability = np.empty_like(units.probability)
    for patient in np.unique(units.patient):
        own = units.patient == patient
        temperature = fit_temperature(units.take(~own))
        if temperature is None:
            return None
        probability[own] = scale(units.probability[own], temperature)
    return replace(units, probability=probability)


def scaled_units(units: Units, temperature: float | None) -> Units | None:
    """Return the units scaled; None without units or temperature."""
    if temperature is None or not len(units.truth):
        return None
    return replace(units, probability=scale(units.probability, temperature))


def scale(probability: Floats, temperature: float) -> Floats:
    """Return the probabilities (units, 3) with their logits divided by `temperature`."""
    return _softmax(np.log(np.maximum(probability, _SMALLEST)) / temperature)


def _softmax(logit: Floats) -> Floats:
    power = np.exp(logit - logit.max(axis=1, keepdims=True))
    probability: Floats = power / power.sum(axis=1, keepdims=True)
    return probability
