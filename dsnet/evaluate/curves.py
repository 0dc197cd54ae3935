"""What the figures draw: precision-recall, ROC, calibration and FROC curves, as JSON values."""

from typing import Any

import numpy as np

from dsnet.evaluate.ap import RECALLS, Ranking, interpolated
from dsnet.evaluate.grading import Units, reliability
from dsnet.evaluate.matching import Flags, Floats, Integers
from dsnet.evaluate.metrics import class_rankings
from dsnet.evaluate.scene import Scene
from dsnet.schemas import CLASSES, LEVELS

MOST_POINTS = 200
"""Of a curve; the rest is left out evenly, never the ends."""

Curve = dict[str, list[Any]]


def precision_recall(scene: Scene) -> dict[str, Curve | None]:
    """Return by class the interpolated precision at IoU 0.5 whose mean is COCO's AP.

    None for a class without ground truth.
    """
    (row,) = class_rankings(scene, np.array([0.5]))
    return {name: _precision_recall(ranked) for name, ranked in zip(CLASSES, row, strict=True)}


def roc(units: Units) -> dict[str, Curve | None]:
    """Return by class the ROC curve against the rest; None for a class without both sides."""
    return {name: _roc(units.truth == k, units.probability[:, k]) for k, name in enumerate(CLASSES)}


def calibration(units: Units) -> Curve:
    """Return by bin the mean confidence, the accuracy (None in an empty bin) and the units."""
    count, confidence, right = reliability(units, units.patient.max(initial=0) + 1).sum(axis=1)
    return {
        "confidence": _means(confidence, count),
        "accuracy": _means(right, count),
        "count": count.astype(int).tolist(),
    }


def froc(scene: Scene, iou: float) -> dict[str, Curve]:
    """Return how many of what there is to find is found, against the false boxes at that price.

    Of the box alone, whatever its class. ``image``: share of the annotated boxes, against false
    boxes per image. ``patient``: share of the patients' vertebrae, each found when a box of it is
    on any slice, against false boxes per patient. A point for each find; between two the curve is
    a stair.
    """
    objects, slot = scene.localised(iou, score=0.0)
    hit = slot >= 0
    present = scene.truth.label >= 0
    image = np.broadcast_to(np.arange(len(present))[:, None], present.shape)
    vertebra = scene.patient[image] * len(LEVELS) + scene.truth.level
    first = _first(objects.score, hit, vertebra[objects.image, slot])
    box_found, box_false = _sums(objects.score, hit, ~hit)
    vertebra_found, false = _sums(objects.score, first, ~hit)
    vertebrae = len(np.unique(vertebra[present]))
    return {
        "image": {
            "false_per_image": _thin(box_false / len(scene.patient), box_found),
            "sensitivity": _thin(box_found / max(int(present.sum()), 1), box_found),
        },
        "patient": {
            "false_per_patient": _thin(false / len(scene.patient_keys), vertebra_found),
            "sensitivity": _thin(vertebra_found / max(vertebrae, 1), vertebra_found),
        },
    }


def _precision_recall(ranked: Ranking) -> Curve | None:
    if not ranked.wanted.sum():
        return None
    return {"recall": _rounded(RECALLS), "precision": _rounded(interpolated(ranked))}


def _roc(positive: Flags, score: Floats) -> Curve | None:
    if positive.all() or not positive.any():
        return None
    right, false = _sums(score, positive, ~positive)
    every = np.arange(len(right))
    return {"fpr": _thin(false / false[-1], every), "tpr": _thin(right / right[-1], every)}


def _sums(score: Floats, *marked: Flags) -> list[Floats]:
    """Return how many of each kind score at least as much, at each score and before the first."""
    order = np.argsort(-score, kind="stable")
    last = np.diff(score[order], append=-np.inf) != 0
    return [np.append(0.0, marks[order].cumsum()[last]) for marks in marked]


def _first(score: Floats, hit: Flags, what: Integers) -> Flags:
    """Return which hits are the best of what they hit."""
    order = np.flatnonzero(hit)[np.argsort(-score[hit], kind="stable")]
    _, places = np.unique(what[order], return_index=True)
    first = np.zeros(len(hit), dtype=np.bool_)
    first[order[places]] = True
    return first


def _thin(values: Floats, steps: Floats | Integers) -> list[float]:
    """Return `values` where `steps` rises, and at both ends, `MOST_POINTS` at most."""
    rises = np.flatnonzero(np.diff(steps, prepend=-1) > 0)
    rises = np.union1d(rises, [len(values) - 1])
    chosen = np.linspace(0, len(rises) - 1, min(len(rises), MOST_POINTS)).round().astype(int)
    return _rounded(values[rises[chosen]])


def _means(total: Floats, count: Floats) -> list[float | None]:
    return [
        round(float(part / whole), 6) if whole else None
        for part, whole in zip(total, count, strict=True)
    ]


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), 6) for value in values]
