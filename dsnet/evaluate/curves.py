"""Curves of one training, and their bands over resamples of the patients, for a metrics file.

Each curve is a dict of lists of one length, a point each. Its band has a grid of its own: at each
grid point the percentile interval of what is read there from the curve of each resample. Bands
are pointwise: at one point the true curve lies inside with 95 %, not everywhere at once.

Slices that show no body of L1 to L4 have false boxes alone, and join the FROC of all images.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from dsnet.config.evaluate import Evaluate
from dsnet.evaluate.average_precision import (
    AP50_IOU,
    RECALLS,
    Ranking,
    class_rankings,
    per_patient,
    ratio,
)
from dsnet.evaluate.calibration import reliability
from dsnet.evaluate.grading import Share, Units
from dsnet.evaluate.intervals import MOST_UNDEFINED, TAIL, bootstrap_weights, estimate
from dsnet.evaluate.scene import (
    Detections,
    Flags,
    Floats,
    Integers,
    Scene,
    Truth,
    best_first,
    detections_on,
)
from dsnet.schemas import CLASSES, LEVELS

Curve = dict[str, list[Any]]

MOST_POINTS = 200
"""Of a curve; the rest is left out evenly, never the ends."""

_FEWEST_FALSE = 1e-3  # by image or patient: first point of the band of a FROC curve after 0
_BESIDE = 1e-9  # less than any step of a curve

FPRS = np.linspace(0.0, 1.0, 101)
"""Where the band of a ROC curve is read."""


def curves(
    scene: Scene, units: dict[str, Units], scaled: Units | None, iou: float
) -> dict[str, Any]:
    """Return every curve of a training: ``pr``, ``roc``, ``calibration`` and ``froc``.

    Parameters
    ----------
    scene : Scene
    units : dict of Units
        As `dsnet.evaluate.grading.graded_units` returns them.
    scaled : Units or None
        The localised boxes after temperature scaling; None without a temperature.
    iou : float
        What a box must reach to localise another.
    """
    return {
        "pr": precision_recall(scene),
        "roc": {unit: roc(units[unit]) for unit in ("patient", "level")},
        "calibration": {
            "before": calibration_curve(units["localised"]),
            "after": None if scaled is None else calibration_curve(scaled),
        },
        "froc": froc(scene, iou),
    }


def bands(
    scene: Scene, units: dict[str, Units], scaled: Units | None, iou: float, weights: Floats
) -> dict[str, Any]:
    """Return the band of every curve, by the keys of `curves`.

    Parameters
    ----------
    scene, units, scaled, iou
        As for `curves`.
    weights : float64 (resamples, patients)
        How often each patient counts.

    Returns
    -------
    dict
        Each band as ``low`` and ``high`` on the grid that stands beside them, None at a point that
        more than `MOST_UNDEFINED` of the resamples leave undefined; None for no curve.
    """
    return {
        "pr": precision_recall_bands(scene, weights),
        "roc": {unit: roc_bands(units[unit], weights) for unit in ("patient", "level")},
        "calibration": {
            "before": calibration_band(units["localised"], weights),
            "after": None if scaled is None else calibration_band(scaled, weights),
        },
        "froc": froc_bands(scene, iou, weights),
    }


def precision_recall(scene: Scene) -> dict[str, Curve | None]:
    """Return by class the interpolated precision at IoU 0.5 whose mean is COCO's AP.

    None for a class without ground truth.
    """
    once = np.ones((1, len(scene.patient_keys)))
    (row,) = class_rankings(scene, AP50_IOU)
    return {
        name: {"recall": _rounded(RECALLS), "precision": _rounded(_precision(ranked, once)[0])}
        if ranked.truths.sum()
        else None
        for name, ranked in zip(CLASSES, row, strict=True)
    }


def roc(units: Units) -> dict[str, Curve | None]:
    """Return by class the ROC curve against the rest; None for a class without both sides."""
    return {name: _roc(units.truth == k, units.probability[:, k]) for k, name in enumerate(CLASSES)}


def calibration_curve(units: Units) -> Curve:
    """Return by bin the mean confidence, the accuracy (None in an empty bin) and the units."""
    patients = units.patient.max(initial=0) + 1
    count, confidence, right = reliability(units, patients).sum(axis=1)
    return {
        "confidence": _means(confidence, count),
        "accuracy": _means(right, count),
        "count": count.astype(int).tolist(),
    }


def froc(scene: Scene, iou: float) -> dict[str, Curve]:
    """Return sensitivity against false boxes as the score falls (free-response ROC).

    Of the box alone, regardless of class. ``image``: share of the annotated boxes localised,
    against false boxes per image. ``patient``: share of the patients' vertebrae, each localised
    when a box of it is on any slice, against false boxes per patient. A point for each hit;
    between two the curve is a step function.
    """
    objects, slot = scene.localised(iou, score=0.0)
    hit = slot >= 0
    present = scene.truth.label >= 0
    vertebra = _vertebra(scene)
    first = _first(objects.score, hit, vertebra[objects.image, slot])
    boxes, false_boxes = _cumulative(objects.score, hit, ~hit)
    vertebrae, false = _cumulative(objects.score, first, ~hit)
    n_vertebrae = len(np.unique(vertebra[present]))
    return {
        "image": {
            "false_per_image": _thin(false_boxes / len(scene.patient), boxes),
            "sensitivity": _thin(boxes / max(int(present.sum()), 1), boxes),
        },
        "patient": {
            "false_per_patient": _thin(false / len(scene.patient_keys), vertebrae),
            "sensitivity": _thin(vertebrae / max(n_vertebrae, 1), vertebrae),
        },
    }


# Bands


def precision_recall_bands(scene: Scene, weights: Floats) -> dict[str, Curve | None]:
    """Return by class the band of `precision_recall` at each recall; None where it is."""
    (row,) = class_rankings(scene, AP50_IOU)
    return {
        name: {"recall": _rounded(RECALLS), **_band(_precision(ranked, weights))}
        if ranked.truths.sum()
        else None
        for name, ranked in zip(CLASSES, row, strict=True)
    }


def roc_bands(units: Units, weights: Floats) -> dict[str, Curve | None]:
    """Return by class the band of `roc` at each of `FPRS`; None where it is."""
    return {name: _roc_band(units, k, weights) for k, name in enumerate(CLASSES)}


def calibration_band(units: Units, weights: Floats) -> Curve:
    """Return by bin the mean confidence and the band of the accuracy."""
    count, confidence, right = reliability(units, weights.shape[1])
    accuracy = ratio(weights @ right, weights @ count)
    return {"confidence": _means(confidence.sum(axis=0), count.sum(axis=0)), **_band(accuracy)}


def froc_bands(scene: Scene, iou: float, weights: Floats) -> dict[str, Curve]:
    """Return the band of each curve of `froc`, from no false box to as many as the curve has."""
    objects, slot = scene.localised(iou, score=0.0)
    patient, hit = scene.patient[objects.image], slot >= 0
    vertebra = _vertebra(scene)
    first = _first(objects.score, hit, vertebra[objects.image, slot])
    present = scene.truth.label >= 0
    images = np.bincount(scene.patient, minlength=weights.shape[1]).astype(np.float64)
    vertebrae = np.zeros_like(images)
    np.add.at(vertebrae, np.unique(vertebra[present]) // len(LEVELS), 1)
    made = {}
    for unit, target, targets, units in (
        ("image", hit, per_patient(scene, present), images),
        ("patient", first, vertebrae, np.ones_like(images)),
    ):
        # Between two hits the curve is level: the false boxes are counted at each hit.
        hits, false = _by_patient(objects.score, patient, len(images), target, target, ~hit)
        reached = ratio(weights @ hits.T, (weights @ targets)[:, None])
        cost = weights @ false.T / (weights @ units)[:, None]
        most = float((~hit).sum() / units.sum())
        grid = np.append(0.0, np.geomspace(_FEWEST_FALSE, max(most, 1.0), len(FPRS) - 1))
        values = [
            row[np.searchsorted(x, grid + _BESIDE, side="right") - 1]
            for x, row in zip(cost, reached, strict=True)
        ]
        made[unit] = {f"false_per_{unit}": _rounded(grid), **_band(np.stack(values))}
    return made


def _precision(ranked: Ranking, weights: Floats) -> Floats:
    """Return the interpolated precision at `RECALLS`, (samples, recalls); its mean is COCO's AP."""
    hits, truths = weights @ ranked.hits.T, weights @ ranked.truths
    precision = hits / (weights @ ranked.detections.T + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    precision = np.pad(precision, ((0, 0), (0, 1)))  # 0 beyond the largest recall
    values = np.full((len(weights), len(RECALLS)), np.nan)
    for sample in np.flatnonzero(truths):
        recall = hits[sample] / truths[sample]
        values[sample] = precision[sample, np.searchsorted(recall, RECALLS, side="left")]
    return values


def _roc_band(units: Units, k: int, weights: Floats) -> Curve | None:
    positive, score = units.truth == k, units.probability[:, k]
    if positive.all() or not positive.any():
        return None
    every, patients = np.ones_like(positive), weights.shape[1]
    right, false = (
        weights @ table.T
        for table in _by_patient(score, units.patient, patients, every, positive, ~positive)
    )
    # Where the curve rises vertically its upper end is read, just right of it.
    order = np.linspace(0, _BESIDE / 2, right.shape[1])
    values = np.full((len(weights), len(FPRS)), np.nan)
    for sample in np.flatnonzero((right[:, -1] > 0) & (false[:, -1] > 0)):
        tpr, fpr = (n[sample] / n[sample, -1] for n in (right, false))
        values[sample] = np.interp(FPRS + _BESIDE, fpr + order, tpr)
    return {"fpr": _rounded(FPRS), **_band(values)}


def _by_patient(
    score: Floats, patient: Integers, patients: int, at: Flags, *marked: Flags
) -> list[Floats]:
    """Return how many of each kind each patient has at or above the scores of `at`.

    Returns
    -------
    list of float64 (1 + scores, patients)
        The first row is 0, before the highest score.
    """
    scores = np.unique(score[at])[::-1]
    step = 1 + np.searchsorted(-scores, -score)
    tables = []
    for marks in marked:
        counts = marks & (step <= len(scores))
        table = np.zeros((1 + len(scores), patients))
        np.add.at(table, (step[counts], patient[counts]), 1)
        tables.append(table.cumsum(axis=0))
    return tables


def _band(values: Floats) -> Curve:
    """Return the percentile interval of each column of `values` (resamples, points)."""
    defined = np.isnan(values).mean(axis=0) <= MOST_UNDEFINED
    edges = np.full((2, values.shape[1]), np.nan)
    edges[:, defined] = np.nanquantile(values[:, defined], [TAIL, 1 - TAIL], axis=0)
    low, high = ([None if np.isnan(x) else x for x in _rounded(row)] for row in edges)
    return {"low": low, "high": high}


# Points


def _roc(positive: Flags, score: Floats) -> Curve | None:
    if positive.all() or not positive.any():
        return None
    right, false = _cumulative(score, positive, ~positive)
    every = np.arange(len(right))
    return {"fpr": _thin(false / false[-1], every), "tpr": _thin(right / right[-1], every)}


def _cumulative(score: Floats, *marked: Flags) -> list[Floats]:
    """Return how many of each kind score at least as much, at each score and before the first."""
    order = np.argsort(-score, kind="stable")
    last = np.diff(score[order], append=-np.inf) != 0
    return [np.append(0.0, marks[order].cumsum()[last]) for marks in marked]


def _vertebra(scene: Scene) -> Integers:
    """Return the vertebra of each slot (images, slots): the same on all slices of a patient."""
    return scene.patient[:, None] * len(LEVELS) + scene.truth.level


def _first(score: Floats, hit: Flags, target: Integers) -> Flags:
    """Return which hits are the best of their target."""
    order = np.flatnonzero(hit)[np.argsort(-score[hit], kind="stable")]
    _, best = np.unique(target[order], return_index=True)
    first = np.zeros(len(hit), dtype=np.bool_)
    first[order[best]] = True
    return first


def _thin(values: Floats, steps: Floats | Integers) -> list[float]:
    """Return `values` where `steps` rises, and at both ends, `MOST_POINTS` at most."""
    rises = np.flatnonzero(np.diff(steps, prepend=-1) > 0)
    rises = np.union1d(rises, [len(values) - 1])
    chosen = np.linspace(0, len(rises) - 1, min(len(rises), MOST_POINTS)).round().astype(int)
    return _rounded(values[rises[chosen]])


def _means(total: Floats, count: Floats) -> list[float | None]:
    return [
        round(float(numerator / denominator), 6) if denominator else None
        for numerator, denominator in zip(total, count, strict=True)
    ]


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), 6) for value in values]


# Negatives


def false_boxes(
    annotated: Scene, negatives: pd.DataFrame, predictions: pd.DataFrame, params: Evaluate
) -> dict[str, Any]:
    """Return how many false boxes negatives have, and the FROC of all images.

    Parameters
    ----------
    annotated : Scene
        The annotated images of the subset with their detections.
    negatives : DataFrame
        `dsnet.slice_tables.NEGATIVES` of the same subset.
    predictions : DataFrame
        `dsnet.schemas.PREDICTIONS` on them.
    params : Evaluate

    Returns
    -------
    dict
        ``images`` and ``patients``; ``false_boxes_per_image`` with its interval over patients, at
        the operating point; ``by_reason``, the same without interval for each reason of
        `NEGATIVES`; ``froc``, as `dsnet.evaluate.curves.froc`, of annotated images and negatives.
    """
    every = with_negatives(annotated, negatives, predictions)
    first = len(annotated.patient)
    objects = every.objects.take(every.objects.score >= params.score)
    of_image = np.bincount(objects.image, minlength=len(every.patient))[first:]
    patients, group = np.unique(every.patient[first:], return_inverse=True)
    share = Share(
        np.bincount(group, of_image, minlength=len(patients)).astype(np.float64),
        np.bincount(group, minlength=len(patients)).astype(np.float64),
    )
    weights = bootstrap_weights(len(patients), params.bootstrap, params.seed)
    by_reason = pd.Series(of_image).groupby(negatives["reason"].to_numpy()).agg(["size", "mean"])
    return {
        "images": len(negatives),
        "patients": len(patients),
        "false_boxes_per_image": estimate(share.of(weights)) if len(patients) else None,
        "by_reason": {
            str(reason): {"images": int(size), "false_boxes_per_image": float(mean)}
            for reason, size, mean in by_reason.itertuples(name=None)
        },
        "froc": froc(every, params.iou),
    }


def with_negatives(annotated: Scene, negatives: pd.DataFrame, predictions: pd.DataFrame) -> Scene:
    """Return a scene with images that show nothing, after its own."""
    if not len(negatives):
        return annotated
    keys = list(annotated.patient_keys)
    keys += [key for key in negatives["patient_key"].unique() if key not in keys]
    patient = pd.Index(keys).get_indexer(pd.Index(negatives["patient_key"])).astype(np.int64)
    slots = annotated.truth.label.shape[1]
    count = len(negatives)
    truth = annotated.truth
    one = annotated.detections
    two = detections_on(predictions, pd.Index(negatives["image_key"]))
    detections = Detections(
        np.concatenate([one.image, two.image + len(annotated.patient)]),
        *(
            np.concatenate([getattr(one, name), getattr(two, name)])
            for name in ("box", "label", "score", "probability")
        ),
    )
    return replace(
        annotated,
        patient=np.concatenate([annotated.patient, patient]),
        patient_keys=tuple(keys),
        truth=Truth(
            np.concatenate([truth.box, np.zeros((count, slots, 4))]),
            np.concatenate([truth.label, np.full((count, slots), -1)]),
            np.concatenate([truth.level, np.full((count, slots), -1)]),
        ),
        detections=best_first(detections),
        row=np.concatenate([annotated.row, np.full(count, -1)]),
    )
