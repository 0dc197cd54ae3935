"""Intervals and the chance level by resampling patients.

Patients are resampled, not images: the slices of one patient are no independent evidence. The
chance level is `map` when the patients' classes are permuted. A patient's labels move as one
profile (level to class), so that the numbers of patients by class, the boxes and the detections
stay as they are and only the relation between image and class is broken.
"""

import numpy as np

from dsnet.evaluate.average_precision import AP50_IOU, average_precision, mean_defined
from dsnet.evaluate.scene import Flags, Floats, Integers, Scene, match
from dsnet.schemas import CLASSES, LEVELS

COVERAGE = 0.95

ALPHA = 0.025
"""Largest one-sided p-value at which `map` counts as above chance."""

MOST_UNDEFINED = 0.1
"""A statistic that more than this share of the resamples leave undefined has no interval: the
resamples that define it are not representative."""

_CHUNK = 100  # permutations at a time: bounds the memory


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
    tail = (1 - COVERAGE) / 2
    undefined = np.isnan(values[1:])
    defined = values[1:][~undefined]
    if undefined.mean() > MOST_UNDEFINED:
        return {"value": number(values[0]), "low": None, "high": None}
    low, high = np.quantile(defined, [tail, 1 - tail])
    return {"value": number(values[0]), "low": number(low), "high": number(high)}


def number(value: float) -> float | None:
    """Return `value` for JSON: to eight decimals, None for NaN."""
    return None if np.isnan(value) else round(float(value), 8) + 0.0


# Chance level


def permutations_of(patients: int, permutations: int, seed: int) -> Integers:
    """Return whose profile each patient gets.

    Returns
    -------
    int64 (permutations, patients)
        Each row a permutation of the patients.
    """
    order = np.tile(np.arange(patients), (permutations, 1))
    return np.random.default_rng([seed, 1]).permuted(order, axis=1)


def permuted_map(scene: Scene, permutations: Integers) -> Floats:
    """Return `map` under each permutation, as a full re-evaluation would give it.

    Parameters
    ----------
    scene : Scene
    permutations : int64 (permutations, patients)

    Returns
    -------
    float64 (permutations,)

    Notes
    -----
    Matching is by class. Whether a detection of class k hits thus depends only on WHICH boxes of
    its image have class k, so each such subset (of at most four boxes) is matched once, and each
    permutation looks its subset up.
    """
    hits = _hits_by_subset(scene)
    chunks = np.array_split(permutations, -(-len(permutations) // _CHUNK))
    return np.concatenate([_map_of(scene, hits, relabelled(scene, chunk)) for chunk in chunks])


def relabelled(scene: Scene, permutations: Integers) -> Integers:
    """Return the labels under each permutation.

    A box takes the class that the other patient's profile has at its level, or, where that
    patient has no box at this level, at the nearest level (of two, the upper).

    Returns
    -------
    int64 (permutations, images, slots)
        -1 in an empty slot.
    """
    image, slot = np.nonzero(scene.truth.label >= 0)
    patient, level = scene.patient[image], scene.truth.level[image, slot]
    profiles = level_profiles(
        patient, level, scene.truth.label[image, slot], len(scene.patient_keys)
    )
    profile = profiles[permutations][:, scene.patient]
    levels = np.broadcast_to(scene.truth.level, (len(permutations), *scene.truth.level.shape))
    labels = np.take_along_axis(profile, np.maximum(levels, 0), axis=2)
    return np.where(levels >= 0, labels, -1)


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


def chance(permuted: Floats, observed: float) -> dict[str, float | int | bool | None]:
    """Return the chance level and whether `map` lies above it.

    Parameters
    ----------
    permuted : float64 (permutations,)
        `map` under permuted labels.
    observed : float
        `map` of the sample.

    Returns
    -------
    dict
        ``mean``, ``p975`` (of the permutations), ``p_value`` (one-sided: the share of permutations
        at or above the value, the value itself counted in), ``permutations``, and
        ``above_chance``: whether ``p_value`` is at most `ALPHA`.
    """
    p_value = (1 + (permuted >= observed).sum()) / (1 + len(permuted))
    return {
        "mean": number(permuted.mean()),
        "p975": number(np.quantile(permuted, 1 - ALPHA)),
        "p_value": number(p_value),
        "permutations": len(permuted),
        "above_chance": bool(p_value <= ALPHA),
    }


def _hits_by_subset(scene: Scene) -> Flags:
    """Return, for each subset of slots, which detections hit if these alone have their class.

    Returns
    -------
    bool (2 ** slots, detections)
        Bit s of the first index says whether slot s is in the subset.
    """
    detections = scene.detections
    overlap = scene.overlap(detections)
    group = detections.image * len(CLASSES) + detections.label
    slots = np.arange(overlap.shape[1])
    hits = np.zeros((1 << len(slots), len(group)), dtype=np.bool_)
    for subset in range(1, len(hits)):
        inside = (subset >> slots) & 1 == 1
        hits[subset] = match(np.where(inside, overlap, -1.0), group, AP50_IOU)[0] >= 0
    return hits


def _map_of(scene: Scene, hits: Flags, labels: Integers) -> Floats:
    """Return `map` under each row of `labels` (permutations, images, slots)."""
    detections = scene.detections
    scores = np.empty((len(CLASSES), len(labels)))
    for k in range(len(CLASSES)):
        of_class = np.flatnonzero(detections.label == k)
        order = of_class[np.argsort(-detections.score[of_class], kind="stable")]
        ranks = np.flatnonzero(hits[:, order].any(axis=0))
        rows = order[ranks]
        members = labels == k
        subset = (members * (1 << np.arange(members.shape[2]))).sum(axis=2)
        right = hits[subset[:, detections.image[rows]], rows].cumsum(axis=1).astype(np.float64)
        truths = members.sum(axis=(1, 2)).astype(np.float64)
        scores[k], _ = average_precision(right, np.float64(1) + ranks[None, :], truths)
    return mean_defined(scores)
