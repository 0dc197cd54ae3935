"""Intervals by resampling patients: a patient's slices are no independent evidence."""

import numpy as np

from dsnet.evaluate.matching import Floats

COVERAGE = 0.95


def weights(patients: int, resamples: int, seed: int) -> Floats:
    """Return how often each patient counts, in the sample itself and in each resample.

    Parameters
    ----------
    patients, resamples : int
    seed : int
        The same seed and number of patients give the same resamples, whatever is judged: paired
        differences between detectors are taken on them.

    Returns
    -------
    float64 (1 + resamples, patients)
        Row 0 is all ones; every other row sums to `patients`.
    """
    draws = np.random.default_rng([seed, 0]).integers(patients, size=(resamples, patients))
    counts = np.ones((1 + resamples, patients))
    counts[1:] = 0
    np.add.at(counts, (1 + np.arange(resamples)[:, None], draws), 1)
    return counts


def estimate(values: Floats) -> dict[str, float | None]:
    """Return the value and its percentile interval.

    Parameters
    ----------
    values : float64 (1 + resamples,)
        In the order of `weights`; NaN where a resample leaves the statistic undefined.

    Returns
    -------
    dict
        ``value``, ``low`` and ``high``; None where undefined.
    """
    tail = (1 - COVERAGE) / 2
    defined = values[1:][~np.isnan(values[1:])]
    if not len(defined):
        return {"value": number(values[0]), "low": None, "high": None}
    low, high = np.quantile(defined, [tail, 1 - tail])
    return {"value": number(values[0]), "low": number(low), "high": number(high)}


def number(value: float) -> float | None:
    """Return `value` for JSON: to eight decimals, None for NaN."""
    return None if np.isnan(value) else round(float(value), 8)
