"""The statistics of the paper's section 3.3, and those beside them.

docs/interpretations.md#13, #14 and #15
"""

import numpy as np

from dsnet.config.evaluate import PatientLabel
from dsnet.evaluate.average_precision import (
    COCO_IOU,
    ap50,
    average_precisions,
    box_ap50,
    match_by_class,
    mean_defined,
    per_patient,
    ratio,
)
from dsnet.evaluate.grading import (
    GRADES,
    UNITS,
    grade,
    graded_units,
    localised_boxes,
    patients,
    share_answered,
)
from dsnet.evaluate.scene import Floats, Integers, Scene
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
        for name, meaning in GRADES.items()
    },
}
"""What each statistic means. TP, FP, FN: detections by class, one to one, at the IoU and score of
the config; localised: one to one, class-agnostic, 1 - p_background at least that score. Levels and
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
        **_at_operating_point(scene, weights, iou, score),
        "box_recall": _box_recall(scene, weights, iou, score),
        **{
            f"{name}_answered": share_answered(units[name], weights)
            for name in ("level", "patient")
        },
        **{
            f"{unit}_{name}": values
            for unit, graded in units.items()
            for name, values in grade(graded, weights).items()
        },
    }


def comparison_statistics(
    scene: Scene, weights: Floats, *, iou: float, score: float, rule: PatientLabel
) -> dict[str, Floats]:
    """Return the few of `statistics` by which detectors are compared."""
    detection = ap50(scene, weights)
    boxes = _at_operating_point(scene, weights, iou, score)
    localised = grade(localised_boxes(scene, iou=iou, score=score), weights)
    people = grade(patients(scene, iou=iou, score=score, rule=rule), weights)
    return {
        "map": detection["map"],
        "recall": boxes["recall"],
        "accuracy": boxes["accuracy"],
        "box_ap50": detection["box_ap50"],
        "localised_accuracy": localised["accuracy"],
        **{f"patient_{name}": people[name] for name in ("accuracy", "macro_auc")},
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


def _at_operating_point(
    scene: Scene, weights: Floats, iou: float, score: float
) -> dict[str, Floats]:
    counts = operating_counts(scene, iou, score)
    tp, fp, fn = (weights @ counts[name] for name in ("tp", "fp", "fn"))
    present = tp + fn > 0
    precision = np.where(present, np.nan_to_num(ratio(tp, tp + fp)), np.nan)
    recall = ratio(tp, tp + fn)
    right, false, missed = tp.sum(axis=1), fp.sum(axis=1), fn.sum(axis=1)
    return {
        "paper_map": mean_defined(precision.T),
        "recall": ratio(right, right + missed),
        "accuracy": ratio(right, right + false + missed),
        "accuracy_literal": ratio(right, right + missed),
        **{f"precision_{name}": precision[:, k] for k, name in enumerate(CLASSES)},
        **{f"recall_{name}": recall[:, k] for k, name in enumerate(CLASSES)},
    }


def _box_recall(scene: Scene, weights: Floats, iou: float, score: float) -> Floats:
    boxes = per_patient(scene, scene.truth.label >= 0)
    objects, slot = scene.localised(iou, score)
    patient = scene.patient[objects.image][slot >= 0]
    localised = np.bincount(patient, minlength=len(boxes)).astype(np.float64)
    return ratio(weights @ localised, weights @ boxes)
