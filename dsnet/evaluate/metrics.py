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
from dsnet.evaluate.calibration import CALIBRATION, calibration
from dsnet.evaluate.grading import (
    GRADES,
    UNITS,
    Share,
    Units,
    areas,
    grade,
    graded_units,
    localised_boxes,
    patients,
    share_answered,
    shares,
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
