"""Intervals by resampling patients: a patient's slices are no independent evidence."""

from typing import Any

import numpy as np

from dsnet.evaluate.matching import Floats

COVERAGE = 0.95

MOST_UNDEFINED = 0.1
"""A statistic that more than this share of the resamples leave undefined has no interval: what is
left are the resamples that happen to resemble each other."""


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
    undefined = np.isnan(values[1:])
    defined = values[1:][~undefined]
    if undefined.mean() > MOST_UNDEFINED:
        return {"value": number(values[0]), "low": None, "high": None}
    low, high = np.quantile(defined, [tail, 1 - tail])
    return {"value": number(values[0]), "low": number(low), "high": number(high)}


def estimate_over_seeds(values: Floats) -> dict[str, Any]:
    """Return the mean over the seeds with its interval over patients, and the seeds apart.

    Parameters
    ----------
    values : float64 (seeds, 1 + resamples)
        Of each training, on the same resamples.

    Returns
    -------
    dict
        As `estimate` of the mean over the seeds, which is undefined where one of them is; and
        ``seed_sd``, the standard deviation between the seeds (None for a single one), and
        ``by_seed``. The interval speaks of patients, ``seed_sd`` of trainings.
    """
    single = values[:, 0]
    return {
        **estimate(values.mean(axis=0)),
        "seed_sd": number(single.std(ddof=1)) if len(single) > 1 else None,
        "by_seed": [number(value) for value in single],
    }


def number(value: float) -> float | None:
    """Return `value` for JSON: to eight decimals, None for NaN."""
    return None if np.isnan(value) else round(float(value), 8) + 0.0
