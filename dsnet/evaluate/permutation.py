"""The chance level: `map` when it is drawn by lot which patient has which class.

A patient's labels move as one profile (level to class), so that the numbers of patients by class,
the boxes and the detections stay as they are and only the tie between image and class is cut.
"""

import numpy as np

from dsnet.evaluate.ap import COCO_IOU, average_precision, mean_defined
from dsnet.evaluate.bootstrap import COVERAGE, number
from dsnet.evaluate.matching import Flags, Floats, Integers, match
from dsnet.evaluate.scene import Scene
from dsnet.schemas import CLASSES, LEVELS

_BLOCK = 100  # permutations at a time: bounds the memory


def draw(patients: int, permutations: int, seed: int) -> Integers:
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
    Matching is by class. Whether a detection of class k hits thus hangs only on WHICH boxes of its
    image have class k, so each such subset (of at most four boxes) is matched once, and each
    permutation looks its subset up.
    """
    hits = _hits_by_subset(scene)
    return np.concatenate(
        [_block(scene, hits, relabelled(scene, rows)) for rows in _blocks(permutations)]
    )


def relabelled(scene: Scene, permutations: Integers) -> Integers:
    """Return the labels under each permutation.

    A box takes the class that the other patient's profile has at its level, or, where that
    patient has no box at this level, at the nearest level (of two, the upper).

    Returns
    -------
    int64 (permutations, images, slots)
        -1 in an empty slot.
    """
    profile = _profiles(scene)[permutations][:, scene.patient]
    level = np.broadcast_to(scene.truth.level, (len(permutations), *scene.truth.level.shape))
    labels = np.take_along_axis(profile, np.maximum(level, 0), axis=2)
    return np.where(level >= 0, labels, -1)


def chance(permuted: Floats, observed: Floats) -> dict[str, float | int | bool | None]:
    """Return the chance level and whether `map` lies above it.

    Parameters
    ----------
    permuted : float64 (permutations,)
        `map` under permuted labels.
    observed : float64 (1 + resamples,)
        `map` of the sample and of each bootstrap resample.

    Returns
    -------
    dict
        ``mean``, ``p975``, ``p_value`` (share of permutations at or above the value, the value
        itself counted in), ``permutations``, and ``above_chance``: the lower bootstrap bound lies
        above ``p975``.
    """
    tail = (1 - COVERAGE) / 2
    upper = float(np.quantile(permuted, 1 - tail))
    low = float(np.quantile(observed[1:], tail))
    return {
        "mean": number(permuted.mean()),
        "p975": number(upper),
        "p_value": number((1 + (permuted >= observed[0]).sum()) / (1 + len(permuted))),
        "permutations": len(permuted),
        "above_chance": low > upper,
    }


def _hits_by_subset(scene: Scene) -> Flags:
    """Return, for each subset of slots, which detections hit if these alone have their class.

    Returns
    -------
    bool (2 ** slots, detections)
        Bit s of the first index says whether slot s is in the subset.
    """
    found = scene.detections
    overlap = scene.overlap(found)
    group = found.image * len(CLASSES) + found.label
    slots = np.arange(overlap.shape[1])
    hits = np.zeros((1 << len(slots), len(group)), dtype=np.bool_)
    for subset in range(1, len(hits)):
        inside = (subset >> slots) & 1 == 1
        hits[subset] = match(np.where(inside, overlap, -1.0), group, COCO_IOU[:1])[0] >= 0
    return hits


def _block(scene: Scene, hits: Flags, labels: Integers) -> Floats:
    found = scene.detections
    scores = np.empty((len(CLASSES), len(labels)))
    for k in range(len(CLASSES)):
        of_class = np.flatnonzero(found.label == k)
        order = of_class[np.argsort(-found.score[of_class], kind="stable")]
        places = np.flatnonzero(hits[:, order].any(axis=0))
        rows = order[places]
        mine = labels == k
        subset = (mine * (1 << np.arange(mine.shape[2]))).sum(axis=2)
        right = hits[subset[:, found.image[rows]], rows].cumsum(axis=1).astype(np.float64)
        wanted = mine.sum(axis=(1, 2)).astype(np.float64)
        scores[k], _ = average_precision(right, np.float64(1) + places[None, :], wanted)
    return mean_defined(scores)


def _profiles(scene: Scene) -> Integers:
    """Return each patient's class at each level, by the first box of the level, gaps filled.

    Returns
    -------
    int64 (patients, levels)
    """
    profile = np.full((len(scene.patient_keys), len(LEVELS)), -1)
    image, slot = np.nonzero(scene.truth.label >= 0)
    # Backwards, so that the first box is what stays.
    for i, s in zip(image[::-1], slot[::-1], strict=True):
        profile[scene.patient[i], scene.truth.level[i, s]] = scene.truth.label[i, s]
    level = np.arange(len(LEVELS))
    distance = np.abs(level[:, None] - level) + np.where(profile < 0, len(LEVELS), 0)[:, None]
    return np.take_along_axis(profile, distance.argmin(axis=2), axis=1)


def _blocks(permutations: Integers) -> list[Integers]:
    return np.array_split(permutations, -(-len(permutations) // _BLOCK))
