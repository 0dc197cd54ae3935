"""Intervals and tests in which patients are random and, where there are several, trainings, too.

Every training (seed) is evaluated on the same patients. That is the design of a reading study in
which every reader sees every case, and its analysis is used: N. A. Obuchowski and H. E. Rockette,
Commun. Stat. Simul. Comput. 24, 285-308, 1995, with the degrees of freedom of S. L. Hillis, Stat.
Med. 26, 596-619, 2007. The variance of a mean over k trainings is the covariance of two trainings
over patients, plus the variance between trainings by k. The first comes from resampling patients,
the second from the k values themselves: to resample so few trainings with replacement, as patients
are resampled, would make it too small by 1 / k (docs/statistics.md compares both).

With one training there is no variance between trainings to be seen, and every interval is about
this training alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from dsnet.evaluate.average_precision import ratio
from dsnet.evaluate.grading import Share
from dsnet.evaluate.scene import Floats

COVERAGE = 0.95
TAIL = (1 - COVERAGE) / 2

MOST_UNDEFINED = 0.1
"""A statistic that more than this share of the resamples leave undefined has no interval: the
resamples that define it are not representative."""


def bootstrap_weights(patients: int, resamples: int, seed: int) -> Floats:
    """Return how often each patient counts, in the sample itself and in each resample.

    Parameters
    ----------
    patients, resamples : int
    seed : int
        The same seed and number of patients give the same resamples, for any statistic or
        detector: paired differences between detectors are computed on them.

    Returns
    -------
    float64 (1 + resamples, patients)
        Row 0 is all ones; every other row sums to `patients`.
    """
    sampled = np.random.default_rng([seed, 0]).integers(patients, size=(resamples, patients))
    counts = np.ones((1 + resamples, patients))
    counts[1:] = 0
    np.add.at(counts, (1 + np.arange(resamples)[:, None], sampled), 1)
    return counts


def estimate(values: Floats) -> dict[str, float | None]:
    """Return the value and its percentile interval.

    Parameters
    ----------
    values : float64 (1 + resamples,)
        In the order of `bootstrap_weights`; NaN where a resample leaves the statistic undefined.

    Returns
    -------
    dict
        ``value``, ``low`` and ``high``; None where undefined.

    Examples
    --------
    >>> estimate(np.concatenate([[0.4], np.arange(101) / 100]))
    {'value': 0.4, 'low': 0.025, 'high': 0.975}
    """
    undefined = np.isnan(values[1:])
    defined = values[1:][~undefined]
    if undefined.mean() > MOST_UNDEFINED:
        return {"value": number(values[0]), "low": None, "high": None}
    low, high = np.quantile(defined, [TAIL, 1 - TAIL])
    return {"value": number(values[0]), "low": number(low), "high": number(high)}


def number(value: float | None) -> float | None:
    """Return `value` for JSON: to eight decimals, None for NaN."""
    return None if value is None or np.isnan(value) else round(float(value), 8) + 0.0


def clopper_pearson(hits: float, count: float) -> tuple[float, float]:
    """Return the exact interval of `hits` by `count`.

    C. J. Clopper and E. S. Pearson, Biometrika 26, 404-413, 1934; neither need be whole.
    """
    low = stats.beta.ppf(TAIL, hits, count - hits + 1) if hits > 0 else 0.0
    high = stats.beta.ppf(1 - TAIL, hits + 1, count - hits) if hits < count else 1.0
    return float(low), float(high)


METHODS = {
    "bootstrap": "percentile bootstrap over patients, widened for the variance between trainings "
    "where there are several",
    "share": "Clopper-Pearson with the effective number of units (Korn and Graubard): exact where "
    "each patient counts once and there is one training",
    "none": "no interval",
}
"""How the interval of a statistic is made, by the key ``method`` of a metrics file."""

_NOTHING = 1e-12  # a variance that is 0 except for rounding


def scope(seeds: int, single: str = "this one training") -> str:
    """Return in words what intervals and p-values of so many seeds generalise to.

    Examples
    --------
    >>> scope(1), scope(5)
    ('patients; this one training', 'patients and trainings (5 seeds)')
    """
    if seeds > 1:
        return f"patients and trainings ({seeds} seeds)"
    return f"patients; {single}" if seeds else "patients"


@dataclass(frozen=True)
class Spread:
    """The variance of a mean over trainings, patients being random, too.

    Attributes
    ----------
    variance : float
    patients : float
        What the variance would be if there were no other trainings.
    degrees : float
        Of freedom; infinite where nothing but patients is random.
    """

    variance: float
    patients: float
    degrees: float

    def quantile(self) -> float:
        """Return the quantile of Student's t for a two-sided interval of `COVERAGE`."""
        return float(stats.t.ppf(1 - TAIL, self.degrees))


def spread(values: Floats, covariance: Floats, patient_degrees: float = np.inf) -> Spread:
    """Return the variance of the mean of `values`.

    Parameters
    ----------
    values : float64 (trainings,)
    covariance : float64 (trainings, trainings)
        Of the values when patients are sampled.
    patient_degrees : float
        Degrees of freedom with which `covariance` is known.
    """
    k, patients = len(values), float(covariance.mean())
    if k == 1:
        return Spread(patients, patients, patient_degrees)
    between = float(values.var(ddof=1)) / k
    common = max(float(covariance.sum() - np.trace(covariance)) / (k * (k - 1)), 0.0)
    variance = max(common + between, patients)
    uncertainty = common**2 / patient_degrees + between**2 / (k - 1)
    degrees = variance**2 / uncertainty if uncertainty > 0 else patient_degrees
    return Spread(variance, patients, degrees)


def estimate_over_seeds(
    values: Floats, limits: tuple[float, float] = (-np.inf, np.inf)
) -> dict[str, Any]:
    """Return the mean over the trainings with its interval, and the value of each.

    Parameters
    ----------
    values : float64 (seeds, 1 + resamples)
        Of each training, on the same resamples of patients.
    limits : (float, float)
        The smallest and the largest value that the statistic can have.

    Returns
    -------
    dict
        ``value`` (undefined where that of one training is), ``low`` and ``high``; ``method``, a key
        of `METHODS`; ``seed_sd``, the standard deviation between trainings (None for a single one);
        ``by_seed``. No interval where all resamples are alike: they do not show what varies.
    """
    mean = values.mean(axis=0)
    bounds = estimate(mean)
    low, high = bounds["low"], bounds["high"]
    if low is not None and high is not None and len(values) > 1:
        defined = values[:, ~np.isnan(mean)]
        total = spread(values[:, 0], np.cov(defined[:, 1:]))
        if high > low:
            normal = float(stats.norm.ppf(1 - TAIL))
            factor = total.quantile() / normal * np.sqrt(total.variance / total.patients)
            more = (factor - 1) * (high - low) / 2
            low, high = (float(np.clip(edge, *limits)) for edge in (low - more, high + more))
        else:
            more = total.quantile() * np.sqrt(total.variance)
            low, high = (float(np.clip(mean[0] + side * more, *limits)) for side in (-1, 1))
    return _summary(values[:, 0], low, high, "bootstrap")


def share_over_seeds(shares: Sequence[Share]) -> dict[str, Any]:
    """Return the mean over the trainings of a share of units, with its interval.

    The interval is that of Clopper and Pearson with the effective number of units of E. L. Korn and
    B. I. Graubard, Survey Methodology 24, 193-201, 1998: as many independent units as would give
    the variance that the share has over patients and trainings. Where each patient is one unit and
    there is one training, this is the exact interval of a proportion. Where the variance is 0, as
    for a share of 0 or 1, it is the number of patients.

    Parameters
    ----------
    shares : sequence of Share
        Of each training.

    Returns
    -------
    dict
        As `estimate_over_seeds`.

    Examples
    --------
    >>> five_of_six = Share(np.array([1.0, 1, 1, 1, 1, 0]), np.ones(6))
    >>> made = share_over_seeds([five_of_six])
    >>> round(made["low"], 4), round(made["high"], 4)
    (0.3588, 0.9958)
    """
    numerator, denominator = (
        np.stack([getattr(share, name) for share in shares])
        for name in ("numerator", "denominator")
    )
    counts = denominator.sum(axis=1)
    values = ratio(numerator.sum(axis=1), counts)
    value = float(values.mean())
    if np.isnan(value):
        return _summary(values, None, None, "share")
    units, patients = float(counts.mean()), int((denominator > 0).any(axis=0).sum())
    residual = (numerator - values[:, None] * denominator) / counts[:, None]
    total = spread(values, residual @ residual.T, max(patients - 1, 1))
    effective = float(patients)
    if total.variance > _NOTHING:
        quantile = float(stats.t.ppf(1 - TAIL, max(units - 1, 1)))
        correction = (quantile / total.quantile()) ** 2  # few patients, or few trainings
        effective = min(correction * value * (1 - value) / total.variance, units)
    return _summary(values, *clopper_pearson(value * effective, effective), "share")


def value_over_seeds(values: Floats) -> dict[str, Any]:
    """Return the mean over the trainings, and the value of each, float64 (seeds,); no interval."""
    return _summary(values, None, None, "none")


def difference_over_seeds(differences: Floats) -> dict[str, float | None]:
    """Return how much two detectors differ.

    Parameters
    ----------
    differences : float64 (seeds, 1 + resamples)
        Of each pair of trainings with the same seed, on the same resamples of patients.

    Returns
    -------
    dict
        ``value``, ``low``, ``high`` and ``p`` (two-sided); None where undefined. With one seed the
        interval is the percentile bootstrap over patients, and there is no p-value: how much two
        trainings differ is no evidence about the modules that they were made with.
    """
    mean = differences.mean(axis=0)
    undefined = {"value": number(mean[0]), "low": None, "high": None, "p": None}
    if len(differences) == 1:
        return {**without_zero_width(estimate(mean)), "p": None}
    defined = ~np.isnan(mean)
    if not defined[0] or (~defined[1:]).mean() > MOST_UNDEFINED:
        return undefined
    total = spread(differences[:, 0], np.cov(differences[:, defined][:, 1:]))
    error = np.sqrt(total.variance)
    if total.variance <= _NOTHING:
        return undefined
    low, high = (number(mean[0] + side * total.quantile() * error) for side in (-1, 1))
    p = 2 * float(stats.t.sf(abs(mean[0]) / error, total.degrees))
    return {"value": number(mean[0]), "low": low, "high": high, "p": float(f"{p:.6g}")}


def difference_of_cohorts(
    one: Mapping[str, float | None], another: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Return `one` less `another`, measured on different patients, with its interval.

    From the two intervals by the method of variance estimates recovery (G. Y. Zou and A. Donner,
    Stat. Med. 27, 1693-1702, 2008), which for proportions is Newcombe's. Where the trainings are
    the same, what they add to both intervals makes this one wider than it need be.

    Parameters
    ----------
    one, another : mapping
        ``value``, ``low`` and ``high``; None where undefined.

    Returns
    -------
    dict
        ``value``, ``low`` and ``high``; None where undefined.
    """
    (own, own_low, own_high), (other, other_low, other_high) = (
        np.array([each[bound] for bound in ("value", "low", "high")], dtype=float)
        for each in (one, another)
    )
    value = own - other
    down, up = (
        np.hypot(own - own_low, other_high - other),
        np.hypot(own_high - own, other - other_low),
    )
    return {"value": number(value), "low": number(value - down), "high": number(value + up)}


def without_zero_width(bounds: dict[str, float | None]) -> dict[str, float | None]:
    """Return the same without an interval where its bounds are equal."""
    alike = bounds["low"] == bounds["high"]
    return {**bounds, "low": None, "high": None} if alike else bounds


def _summary(values: Floats, low: float | None, high: float | None, method: str) -> dict[str, Any]:
    bounds = {"value": number(values.mean()), "low": number(low), "high": number(high)}
    return {
        **without_zero_width(bounds),
        "method": method,
        "seed_sd": number(values.std(ddof=1)) if len(values) > 1 else None,
        "by_seed": [number(value) for value in values],
    }
