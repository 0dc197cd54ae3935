"""The statistics of the paper's section 3.3, those beside them, and the chance level.

docs/interpretations.md#13, #14 and #15

The chance level is `map` when the patients' classes are permuted. A patient's labels move as one
profile (level to class), so that the numbers of patients by class, the boxes and the detections
stay as they are and only the relation between image and class is broken.
"""

import numpy as np

from dsnet.config.evaluate import PatientLabel
from dsnet.evaluate.average_precision import (
    AP50_IOU,
    COCO_IOU,
    ap50,
    average_precision,
    average_precisions,
    box_ap50,
    match_by_class,
    mean_defined,
    per_patient,
    ratio,
)
from dsnet.evaluate.calibration import CALIBRATION, calibration
from dsnet.evaluate.grading import (
    GRADES,
    UNITS,
    Share,
    Units,
    areas,
    grade,
    graded_units,
    level_profiles,
    localised_boxes,
    patients,
    share_answered,
    shares,
)
from dsnet.evaluate.intervals import number
from dsnet.evaluate.scene import Flags, Floats, Integers, Scene, match
from dsnet.schemas import CLASSES, SUPPRESSION_IOU

DEFINITIONS = {
    "map": "COCO AP at IoU 0.5, mean over the classes (interpretation 13)",
    "map_50_95": "COCO AP, mean over IoU 0.50, 0.55, ..., 0.95 and the classes (interpretation 13)",
    "voc_map": "area under the interpolated precision-recall curve at IoU 0.5, mean over the "
    "classes (interpretation 13)",
    "paper_map": "eq. 3 taken literally, macro precision: mean over the classes of TP / (TP + FP); "
    "a class that is never predicted counts 0 (interpretation 13)",
    "recall": "TP / (TP + FN), class right (interpretation 14)",
    "accuracy": "TP / (TP + FP + FN), TN of eq. 5 read as FP (interpretation 15)",
    "accuracy_literal": "TP / (TP + TN + FN), eq. 5 taken literally with TN = 0: equals recall "
    "(interpretation 15)",
    "box_ap50": "COCO AP at IoU 0.5 of the box alone: the classes are one, the score is "
    f"1 - p_background, boxes of any class that overlap by more than {SUPPRESSION_IOU} are one "
    "object",
    "box_recall": "share of the boxes that were localised, regardless of class",
    **{f"ap_{name}": f"COCO AP at IoU 0.5 of {name}" for name in CLASSES},
    **{f"voc_ap_{name}": f"VOC AP at IoU 0.5 of {name}" for name in CLASSES},
    **{f"precision_{name}": f"TP / (TP + FP) of {name}" for name in CLASSES},
    **{f"recall_{name}": f"TP / (TP + FN) of {name}" for name in CLASSES},
    "level_answered": "share of the levels of which at least one box was localised",
    "patient_answered": "share of the patients on whose slices at least one object was reported",
    **{
        f"{unit}_{name}": f"{units}: {meaning}"
        for unit, units in UNITS.items()
        for name, meaning in {**GRADES, **CALIBRATION}.items()
    },
}
"""What each statistic means. TP, FP, FN: detections by class, one to one, at the IoU and score of
the config; localised: one to one, class-agnostic, 1 - p_background at least that score. Levels and
patients without an answer have equal probabilities and count as wrong (`grading.grade`)."""

PRIMARY = "map"
"""The statistic by which detectors are compared; all others are exploratory."""


def limits(name: str) -> tuple[float, float]:
    """Return the smallest and the largest value that a statistic can have."""
    if name.endswith("kappa"):
        return -1.0, 1.0
    if name.endswith("brier"):
        return 0.0, 2.0
    return (-np.inf, np.inf) if "calibration_" in name else (0.0, 1.0)


def has_interval(name: str) -> bool:
    """Return whether a statistic has an interval.

    Calibration errors have none: they are bounded by 0 and biased, so that no resampling of
    patients covers them (docs/statistics.md).
    """
    return not name.endswith(("ece", "ece_debiased"))


def statistics(
    scene: Scene,
    weights: Floats,
    *,
    iou: float,
    score: float,
    rule: PatientLabel = "mean_probability",
) -> dict[str, Floats]:
    """Return every statistic of `DEFINITIONS` for each row of `weights`.

    Parameters
    ----------
    scene : Scene
    weights : float64 (samples, patients)
        How often each patient counts.
    iou, score : float
        The operating point of interpretations 14 and 15: what a detection must reach to count.
    rule : {"mean_probability", "majority", "worst"}
        How boxes become one label, as `dsnet.evaluate.grading.pool`.

    Returns
    -------
    dict of float64 (samples,)
        Fractions, NaN where undefined: a class without ground truth, a quotient 0 / 0.
    """
    coco, voc = average_precisions(scene, weights, COCO_IOU)
    units = graded_units(scene, iou=iou, score=score, rule=rule)
    return {
        "map": mean_defined(coco[0]),
        "box_ap50": box_ap50(scene, weights),
        "map_50_95": mean_defined(coco.mean(axis=0)),
        "voc_map": mean_defined(voc[0]),
        **{f"ap_{name}": coco[0, k] for k, name in enumerate(CLASSES)},
        **{f"voc_ap_{name}": voc[0, k] for k, name in enumerate(CLASSES)},
        **_precisions(scene, weights, iou, score),
        **{name: share.of(weights) for name, share in box_shares(scene, iou, score).items()},
        **{name: share.of(weights) for name, share in _answered(scene, units).items()},
        **{
            f"{unit}_{name}": values
            for unit, graded in units.items()
            for name, values in {**grade(graded, weights), **calibration(graded, weights)}.items()
        },
    }


def all_shares(
    scene: Scene, *, iou: float, score: float, rule: PatientLabel = "mean_probability"
) -> dict[str, Share]:
    """Return, of the statistics of `DEFINITIONS` that are shares of units, the counts by patient.

    Parameters
    ----------
    scene, iou, score, rule
        As for `statistics`.
    """
    units = graded_units(scene, iou=iou, score=score, rule=rule)
    patients = len(scene.patient_keys)
    return {
        **box_shares(scene, iou, score),
        **_answered(scene, units),
        **{
            f"{unit}_{name}": share
            for unit, graded in units.items()
            for name, share in shares(graded, patients).items()
        },
    }


def comparison_statistics(
    scene: Scene, weights: Floats, *, iou: float, score: float, rule: PatientLabel
) -> dict[str, Floats]:
    """Return the few of `statistics` by which detectors are compared, `PRIMARY` first."""
    detection, boxes = ap50(scene, weights), box_shares(scene, iou, score)
    localised = shares(localised_boxes(scene, iou=iou, score=score), weights.shape[1])
    people = patients(scene, iou=iou, score=score, rule=rule)
    return {
        "map": detection["map"],
        "recall": boxes["recall"].of(weights),
        "accuracy": boxes["accuracy"].of(weights),
        "box_ap50": detection["box_ap50"],
        "localised_accuracy": localised["accuracy"].of(weights),
        "patient_accuracy": shares(people, weights.shape[1])["accuracy"].of(weights),
        "patient_macro_auc": areas(people, weights)["macro_auc"],
    }


def operating_counts(scene: Scene, iou: float, score: float) -> dict[str, Floats]:
    """Return TP, FP and FN by patient and class (interpretation 14).

    Returns
    -------
    dict of float64 (patients, classes)
        Keys ``tp``, ``fp``, ``fn``.
    """
    detections = scene.detections
    kept = detections.score >= score
    hit = kept & (match_by_class(scene, np.array([iou]))[0] >= 0)
    shape = (len(scene.patient_keys), len(CLASSES))
    patient = scene.patient[detections.image]
    predicted, tp = np.zeros(shape), np.zeros(shape)
    np.add.at(predicted, (patient[kept], detections.label[kept]), 1)
    np.add.at(tp, (patient[hit], detections.label[hit]), 1)
    truths = [per_patient(scene, scene.truth.label == k) for k in range(len(CLASSES))]
    return {"tp": tp, "fp": predicted - tp, "fn": np.stack(truths, axis=1) - tp}


def box_confusion(scene: Scene, iou: float, score: float) -> Integers:
    """Return the confusion matrix of the boxes, matched class-agnostically.

    docs/interpretations.md#14

    Returns
    -------
    int64 (patients, classes + 1, classes + 1)
        By patient: rows are the true class, then false boxes; columns the likeliest class, then
        missed boxes.
    """
    objects, slot = scene.localised(iou, score)
    hit = slot >= 0
    none = len(CLASSES)
    truth = np.where(hit, scene.truth.label[objects.image, slot], none)
    table = np.zeros((len(scene.patient_keys), none + 1, none + 1), dtype=np.int64)
    np.add.at(table, (scene.patient[objects.image], truth, objects.label), 1)
    for k in range(none):
        present = per_patient(scene, scene.truth.label == k).astype(np.int64)
        table[:, k, none] = present - table[:, k, :none].sum(axis=1)
    return table


def box_shares(scene: Scene, iou: float, score: float) -> dict[str, Share]:
    """Return the counts by patient of ``recall`` and the other shares of the boxes."""
    counts = operating_counts(scene, iou, score)
    tp, fp, fn = (counts[name] for name in ("tp", "fp", "fn"))
    right, false, missed = (each.sum(axis=1) for each in (tp, fp, fn))
    boxes = per_patient(scene, scene.truth.label >= 0)
    objects, slot = scene.localised(iou, score)
    patient = scene.patient[objects.image][slot >= 0]
    localised = np.bincount(patient, minlength=len(boxes)).astype(np.float64)
    return {
        "recall": Share(right, right + missed),
        "accuracy": Share(right, right + false + missed),
        "accuracy_literal": Share(right, right + missed),
        **{f"recall_{name}": Share(tp[:, k], (tp + fn)[:, k]) for k, name in enumerate(CLASSES)},
        "box_recall": Share(localised, boxes),
    }


def _precisions(scene: Scene, weights: Floats, iou: float, score: float) -> dict[str, Floats]:
    counts = operating_counts(scene, iou, score)
    tp, fp, fn = (weights @ counts[name] for name in ("tp", "fp", "fn"))
    precision = np.where(tp + fn > 0, np.nan_to_num(ratio(tp, tp + fp)), np.nan)
    return {
        "paper_map": mean_defined(precision.T),
        **{f"precision_{name}": precision[:, k] for k, name in enumerate(CLASSES)},
    }


def _answered(scene: Scene, units: dict[str, Units]) -> dict[str, Share]:
    patients = len(scene.patient_keys)
    return {
        f"{unit}_answered": share_answered(units[unit], patients) for unit in ("level", "patient")
    }


ALPHA = 0.025
"""Largest one-sided p-value at which `map` counts as above chance."""

_CHUNK = 100  # permutations at a time: bounds the memory


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
