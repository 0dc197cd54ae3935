"""Temperature scaling: probabilities made as sure as they are right.

C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017: one number divides all logits.
It changes no ranking of the classes, and is fitted on the validation part, never on the test part.
"""

import numpy as np
from scipy.optimize import brentq

from dsnet.evaluate.grading import Units
from dsnet.evaluate.matching import Floats

_SMALLEST = 1e-12  # probability: its logarithm stays finite
_LARGEST = 100.0  # inverse temperature


def fit_temperature(units: Units) -> float | None:
    """Return the temperature under which the true classes are likeliest.

    Parameters
    ----------
    units : Units
        Boxes of the validation part.

    Returns
    -------
    float or None
        In (0.01, inf). None where no temperature is best: without a box, if (nearly) all are right
        (the smaller the better), or if the probabilities say less than equal ones (the larger the
        better).

    Notes
    -----
    The logarithms of the probabilities are the logits but for a constant, and the likelihood is
    concave in the inverse temperature, so that its slope has one root at most.
    """
    if not len(units.truth):
        return None
    logit = np.log(np.maximum(units.probability, _SMALLEST))
    wanted = np.take_along_axis(logit, units.truth[:, None], axis=1)[:, 0]

    def slope(inverse: float) -> float:
        expected = (_softmax(inverse * logit) * logit).sum(axis=1)
        return float((expected - wanted).mean())

    if slope(0) >= 0 or slope(_LARGEST) <= 0:
        return None
    return 1 / float(brentq(slope, 0, _LARGEST, xtol=1e-10))


def scale(probability: Floats, temperature: float) -> Floats:
    """Return the probabilities (units, 3) with their logits divided by `temperature`."""
    return _softmax(np.log(np.maximum(probability, _SMALLEST)) / temperature)


def _softmax(logit: Floats) -> Floats:
    power = np.exp(logit - logit.max(axis=1, keepdims=True))
    probability: Floats = power / power.sum(axis=1, keepdims=True)
    return probability
