"""The statistics of the paper's section 3.3, and those beside them (readings 13 to 15)."""

import numpy as np

from dsnet.config.evaluate import PatientLabel
from dsnet.evaluate.ap import COCO_IOU, Ranking, mean_defined, rank, ratio
from dsnet.evaluate.grading import GRADES, Units, grade
from dsnet.evaluate.matching import Flags, Floats, Integers, match
from dsnet.evaluate.scene import Detections, Scene
from dsnet.evaluate.units import found, levels, patients
from dsnet.schemas import CLASSES

UNITS = {
    "found": "Boxes found, whatever their class",
    "level": "Levels of a patient, each from the boxes found of it on all slices",
    "patient": "Patients, each from all objects that the detector reports",
}
"""What is graded by its class, each by the likeliest class or the probabilities of all three."""

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
    "accuracy_localised": "share of the boxes found, whatever their class, whose likeliest class "
    "is right (interpretation 15)",
    "box_ap50": "COCO AP at IoU 0.5 of the box alone: the classes are one, the score is "
    "1 - p_background, boxes of any class that overlap by more than 0.5 are one object",
    "box_recall": "share of the boxes found, whatever their class",
    **{f"ap_{name}": f"COCO AP at IoU 0.5 of {name}" for name in CLASSES},
    **{f"voc_ap_{name}": f"VOC AP at IoU 0.5 of {name}" for name in CLASSES},
    **{f"precision_{name}": f"TP / (TP + FP) of {name}" for name in CLASSES},
    **{f"recall_{name}": f"TP / (TP + FN) of {name}" for name in CLASSES},
    "level_answered": "share of the levels of which at least one box was found",
    "patient_answered": "share of the patients on whose slices anything was reported",
    **{
        f"{unit}_{name}": f"{what}: {meaning}"
        for unit, what in UNITS.items()
        for name, meaning in GRADES.items()
    },
}
"""What each statistic means. TP, FP, FN: detections by class, one to one, at the IoU and score of
the config; "found": one to one, class-agnostic, 1 - p_background at least that score. Levels and
patients without an answer have equal probabilities and count as wrong (`grading.grade`)."""


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
        How boxes become one label, as `dsnet.evaluate.units.pool`.

    Returns
    -------
    dict of float64 (samples,)
        Fractions, NaN where undefined: a class without ground truth, a quotient 0 / 0.
    """
    return {
        **_by_class(scene, weights),
        **_at_threshold(scene, weights, iou, score),
        **_of_box_alone(scene, weights, iou, score),
        **_of_units(scene, weights, iou, score, rule),
    }


def compared(
    scene: Scene, weights: Floats, *, iou: float, score: float, rule: PatientLabel
) -> dict[str, Floats]:
    """Return the few of `statistics` by which detectors are compared."""
    precision, _ = average_precisions(scene, weights, COCO_IOU[:1])
    boxes = {
        **_at_threshold(scene, weights, iou, score),
        **_of_box_alone(scene, weights, iou, score),
    }
    grades = _grades(patients(scene, iou=iou, score=score, rule=rule), weights)
    return {
        "map": mean_defined(precision[0]),
        **{name: boxes[name] for name in ("recall", "accuracy", "box_ap50", "accuracy_localised")},
        **{f"patient_{name}": grades[name] for name in ("accuracy", "macro_auc")},
    }


def judged_units(scene: Scene, *, iou: float, score: float, rule: PatientLabel) -> dict[str, Units]:
    """Return what is graded, by the keys of `UNITS`."""
    return {
        "found": found(scene, iou=iou, score=score),
        "level": levels(scene, iou=iou, score=score, rule=rule),
        "patient": patients(scene, iou=iou, score=score, rule=rule),
    }


def match_by_class(scene: Scene, thresholds: Floats) -> Integers:
    """Return the slot that each detection takes among the ground truths of its own class.

    Returns
    -------
    int64 (thresholds, detections)
        -1 for none.
    """
    found = scene.detections
    same = scene.truth.label[found.image] == found.label[:, None]
    overlap = np.where(same, scene.overlap(found), -1.0)
    return match(overlap, found.image * len(CLASSES) + found.label, thresholds)


def ranking(scene: Scene, found: Detections, hit: Flags, wanted: Flags) -> Ranking:
    """Return the ranking of detections of a scene.

    Parameters
    ----------
    scene : Scene
    found : Detections
    hit : bool (detections,)
        Whether each took a ground truth.
    wanted : bool (images, slots)
        Ground truths that there are to find.
    """
    return rank(found.score, hit, scene.patient[found.image], _per_patient(scene, wanted))


def class_rankings(scene: Scene, thresholds: Floats) -> list[list[Ranking]]:
    """Return the ranking of each class at each threshold of the IoU."""
    hits = match_by_class(scene, thresholds) >= 0
    found = scene.detections
    of_class = [found.label == k for k in range(len(CLASSES))]
    return [
        [
            ranking(scene, found.take(rows), hit[rows], scene.truth.label == k)
            for k, rows in enumerate(of_class)
        ]
        for hit in hits
    ]


def average_precisions(scene: Scene, weights: Floats, thresholds: Floats) -> tuple[Floats, Floats]:
    """Return COCO and VOC AP, each (thresholds, classes, samples)."""
    shape = (len(thresholds), len(CLASSES), len(weights))
    coco, voc = np.empty(shape), np.empty(shape)
    for t, row in enumerate(class_rankings(scene, thresholds)):
        for k, ranked in enumerate(row):
            coco[t, k], voc[t, k] = ranked.average_precision(weights)
    return coco, voc


def operating_counts(scene: Scene, iou: float, score: float) -> dict[str, Floats]:
    """Return TP, FP and FN by patient and class (interpretation 14).

    Returns
    -------
    dict of float64 (patients, classes)
        Keys ``tp``, ``fp``, ``fn``.
    """
    found = scene.detections
    kept = found.score >= score
    hit = kept & (match_by_class(scene, np.array([iou]))[0] >= 0)
    shape = (len(scene.patient_keys), len(CLASSES))
    patient = scene.patient[found.image]
    predicted, tp = np.zeros(shape), np.zeros(shape)
    np.add.at(predicted, (patient[kept], found.label[kept]), 1)
    np.add.at(tp, (patient[hit], found.label[hit]), 1)
    present = [_per_patient(scene, scene.truth.label == k) for k in range(len(CLASSES))]
    return {"tp": tp, "fp": predicted - tp, "fn": np.stack(present, axis=1) - tp}


def confusion(scene: Scene, iou: float, score: float) -> Integers:
    """Return the confusion matrix of the boxes alone, matched class-agnostically.

    docs/interpretations.md#14

    Returns
    -------
    int64 (patients, classes + 1, classes + 1)
        By patient: rows are the true class, then false boxes; columns the likeliest class, then
        missed boxes.
    """
    found, slot = scene.localised(iou, score)
    hit = slot >= 0
    none = len(CLASSES)
    true = np.where(hit, scene.truth.label[found.image, slot], none)
    table = np.zeros((len(scene.patient_keys), none + 1, none + 1), dtype=np.int64)
    np.add.at(table, (scene.patient[found.image], true, found.label), 1)
    for k in range(none):
        present = _per_patient(scene, scene.truth.label == k).astype(np.int64)
        table[:, k, none] = present - table[:, k, :none].sum(axis=1)
    return table


def _by_class(scene: Scene, weights: Floats) -> dict[str, Floats]:
    coco, voc = average_precisions(scene, weights, COCO_IOU)
    return {
        "map": mean_defined(coco[0]),
        "map_50_95": mean_defined(coco.mean(axis=0)),
        "voc_map": mean_defined(voc[0]),
        **{f"ap_{name}": coco[0, k] for k, name in enumerate(CLASSES)},
        **{f"voc_ap_{name}": voc[0, k] for k, name in enumerate(CLASSES)},
    }


def _at_threshold(scene: Scene, weights: Floats, iou: float, score: float) -> dict[str, Floats]:
    counts = operating_counts(scene, iou, score)
    tp, fp, fn = (weights @ counts[name] for name in ("tp", "fp", "fn"))
    present = tp + fn > 0
    precision = np.where(present, np.nan_to_num(ratio(tp, tp + fp)), np.nan)
    recall = ratio(tp, tp + fn)
    right, false, lost = tp.sum(axis=1), fp.sum(axis=1), fn.sum(axis=1)
    return {
        "paper_map": mean_defined(precision.T),
        "recall": ratio(right, right + lost),
        "accuracy": ratio(right, right + false + lost),
        "accuracy_literal": ratio(right, right + lost),
        **{f"precision_{name}": precision[:, k] for k, name in enumerate(CLASSES)},
        **{f"recall_{name}": recall[:, k] for k, name in enumerate(CLASSES)},
    }


def _of_box_alone(scene: Scene, weights: Floats, iou: float, score: float) -> dict[str, Floats]:
    found = scene.alone
    wanted = scene.truth.label >= 0
    hit = match(scene.overlap(found), found.image, COCO_IOU[:1])[0] >= 0
    box_ap, _ = ranking(scene, found, hit, wanted).average_precision(weights)
    table = confusion(scene, iou, score)[:, :-1].astype(np.float64)
    boxes, missed = table.sum(axis=(1, 2)), table[:, :, -1].sum(axis=1)
    right = np.trace(table, axis1=1, axis2=2)
    return {
        "box_ap50": box_ap,
        "box_recall": ratio(weights @ (boxes - missed), weights @ boxes),
        "accuracy_localised": ratio(weights @ right, weights @ (boxes - missed)),
    }


def _of_units(
    scene: Scene, weights: Floats, iou: float, score: float, rule: PatientLabel
) -> dict[str, Floats]:
    judged = judged_units(scene, iou=iou, score=score, rule=rule)
    return {
        **{f"{name}_answered": _answered(judged[name], weights) for name in ("level", "patient")},
        **{
            f"{unit}_{name}": values
            for unit, those in judged.items()
            for name, values in _grades(those, weights).items()
        },
    }


def _grades(units: Units, weights: Floats) -> dict[str, Floats]:
    return grade(units.truth, units.probability, units.patient, weights, answered=units.answered)


def _answered(units: Units, weights: Floats) -> Floats:
    total, given = (
        weights @ np.bincount(units.patient, weights=those, minlength=weights.shape[1])
        for those in (np.ones(len(units.truth)), units.answered)
    )
    return ratio(given, total)


def _per_patient(scene: Scene, marked: Flags) -> Floats:
    """Return how many slots of each patient are marked."""
    counts = np.bincount(
        scene.patient, weights=marked.sum(axis=1), minlength=len(scene.patient_keys)
    )
    return counts.astype(np.float64)
