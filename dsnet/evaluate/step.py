"""The metrics of one detector over its seeds, as JSON: ``python -m dsnet.evaluate.step``.

The file holds, in this order: ``cohort``, ``synthetic``, ``leaky``, ``slices_sha256``; ``subset``,
``seeds``; ``counts``, ``thresholds`` and ``interval``, which all detectors of a table share;
``metrics`` by the names of ``definitions``, each with ``value`` (mean over the seeds), ``low`` and
``high`` (its interval) and ``method`` (how that is made), ``seed_sd`` (between the seeds) and
``by_seed``; ``chance``; ``calibration``; and, of the first seed alone, ``curves``, ``confusion``
and ``patients``. Fractions throughout; null for undefined.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsnet.config.evaluate import Evaluate
from dsnet.evaluate import grading
from dsnet.evaluate.average_precision import (
    AP50_IOU,
    RECALLS,
    Ranking,
    class_rankings,
    interpolated_precision,
)
from dsnet.evaluate.calibration import (
    BINS,
    CALIBRATION,
    calibration,
    cross_fitted,
    fit_temperature,
    reliability,
)
from dsnet.evaluate.grading import Units, graded_units, localised_boxes
from dsnet.evaluate.intervals import (
    METHODS,
    estimate_over_seeds,
    scope,
    share_over_seeds,
    value_over_seeds,
)
from dsnet.evaluate.metrics import (
    DEFINITIONS,
    all_shares,
    box_confusion,
    has_interval,
    limits,
    operating_counts,
    statistics,
)
from dsnet.evaluate.provenance import read_provenance
from dsnet.evaluate.resampling import (
    COVERAGE,
    MOST_UNDEFINED,
    bootstrap_weights,
    chance,
    permutations_of,
    permuted_map,
)
from dsnet.evaluate.scene import Flags, Floats, Integers, Scene, read_scenes
from dsnet.files import write_json
from dsnet.schemas import CLASSES, LEVELS, MAX_DETECTIONS, SUPPRESSION_IOU
from dsnet.step import run

Json = dict[str, Any]
Curve = dict[str, list[Any]]

SUBSET = "test"
"""The subset on which detectors are evaluated."""

MOST_POINTS = 200
"""Of a curve; the rest is left out evenly, never the ends."""


def evaluate(
    *,
    predictions: Path,
    seeds: list[int],
    boxes: Path,
    split: Path,
    digest: Path,
    metrics: Path,
    params: Evaluate,
) -> None:
    """Evaluate one detector on the test subset, over all its seeds.

    Parameters
    ----------
    predictions : Path
        Folder of ``seed{seed}/test.parquet``, `schemas.PREDICTIONS`.
    seeds : list of int
    boxes : Path
        Ground truths on the same grid, under `schemas.SLICES`.
    split : Path
        Under `schemas.SPLIT`.
    digest : Path
        Digest of the slice store, which names the cohort and says whether it is synthetic.
    metrics : Path
        JSON to write.
    params : Evaluate
    """
    files = [predictions / f"seed{seed}" / f"{SUBSET}.parquet" for seed in seeds]
    provenance = read_provenance(digest, split)
    scenes = read_scenes(files, boxes, split, SUBSET)
    write_json(metrics, {**provenance, **metrics_of(scenes, seeds, params)})


def metrics_of(scenes: Sequence[Scene], seeds: Sequence[int], params: Evaluate) -> Json:
    """Return the content of the metrics file of a detector, without its provenance.

    Parameters
    ----------
    scenes : sequence of Scene
        The test subset with the detections of each seed.
    seeds : sequence of int
    params : Evaluate
    """
    point = {"iou": params.iou, "score": params.score}
    patients = len(scenes[0].patient_keys)
    orders = permutations_of(patients, params.permutations, params.seed)
    permuted = np.mean([permuted_map(scene, orders) for scene in scenes], axis=0)
    metrics = _metrics(scenes, params)
    scaling, scaled = _calibration(scenes, metrics, params)
    units = graded_units(scenes[0], **point, rule=params.patient_label)
    return {
        "subset": SUBSET,
        "seeds": list(seeds),
        "counts": _counts(scenes),
        "thresholds": {
            **point,
            "suppression_iou": SUPPRESSION_IOU,
            "max_detections": MAX_DETECTIONS,
            "patient_label": params.patient_label,
            "calibration_bins": BINS,
        },
        "interval": {
            "scope": scope(len(seeds)),
            "methods": METHODS,
            "coverage": COVERAGE,
            "most_undefined": MOST_UNDEFINED,
            "resamples": params.bootstrap,
            "seed": params.seed,
        },
        "metrics": metrics,
        "definitions": DEFINITIONS,
        "chance": chance(permuted, metrics["map"]["value"]),
        "calibration": scaling,
        "curves": _curves(scenes[0], units, scaled, params),
        "confusion": _confusion(scenes[0], units, params),
        "patients": _patients(scenes[0], params),
    }


def _metrics(scenes: Sequence[Scene], params: Evaluate) -> Json:
    """Return every statistic over the seeds, each with the interval that suits it."""
    point = {"iou": params.iou, "score": params.score}
    weights = bootstrap_weights(len(scenes[0].patient_keys), params.bootstrap, params.seed)
    by_seed = [statistics(scene, weights, **point, rule=params.patient_label) for scene in scenes]
    shares = [all_shares(scene, **point, rule=params.patient_label) for scene in scenes]
    return {
        name: share_over_seeds([one[name] for one in shares])
        if name in shares[0]
        else _over_seeds(name, np.stack([one[name] for one in by_seed]))
        for name in DEFINITIONS
    }


def _over_seeds(name: str, values: Floats) -> Json:
    """Return a statistic that is no share; `values` (seeds, 1 + resamples)."""
    if has_interval(name):
        return estimate_over_seeds(values, limits(name))
    return value_over_seeds(values[:, 0])


def _counts(scenes: Sequence[Scene]) -> Json:
    """Return the counts of the ground truths, and of each seed's detections."""
    scene = scenes[0]
    label = scene.truth.label
    of_class = {name: label == k for k, name in enumerate(CLASSES)}
    return {
        "patients": len(scene.patient_keys),
        "images": len(scene.patient),
        "boxes": int((label >= 0).sum()),
        "detections": [len(one.detections.score) for one in scenes],
        "boxes_by_class": {name: int(members.sum()) for name, members in of_class.items()},
        "patients_by_class": {
            name: len(np.unique(scene.patient[members.any(axis=1)]))
            for name, members in of_class.items()
        },
    }


def _calibration(
    scenes: Sequence[Scene], metrics: Json, params: Evaluate
) -> tuple[Json, Units | None]:
    """Return how temperature scaling changes the localised boxes, and those of the first seed."""
    boxes = [localised_boxes(scene, iou=params.iou, score=params.score) for scene in scenes]
    fitted = [fit_temperature(units) for units in boxes]
    scaled = [cross_fitted(units) for units in boxes]
    weights = bootstrap_weights(len(scenes[0].patient_keys), params.bootstrap, params.seed)
    undefined = dict.fromkeys(CALIBRATION, np.full(len(weights), np.nan))
    by_seed = [undefined if units is None else calibration(units, weights) for units in scaled]
    usable = [one for one in fitted if one is not None]
    return {
        "unit": "localised",
        "fitted_on": "of each patient, the other patients of the test subset",
        "temperature": round(float(np.mean(usable)), 6) if len(usable) == len(fitted) else None,
        "temperature_by_seed": [None if one is None else round(one, 6) for one in fitted],
        "boxes_by_seed": [len(units.truth) for units in boxes],
        "before": {name: metrics[f"localised_{name}"] for name in CALIBRATION},
        "after": {
            name: _over_seeds(name, np.stack([one[name] for one in by_seed]))
            for name in CALIBRATION
        },
    }, scaled[0]


def _confusion(scene: Scene, units: dict[str, Units], params: Evaluate) -> Json:
    """Return the confusion matrices; rows are the true class, columns the likeliest one."""
    boxes = box_confusion(scene, params.iou, params.score).sum(axis=0)
    columns = [*CLASSES, "missed"]
    return {
        "box": {"rows": [*CLASSES, "false box"], "columns": columns, "counts": boxes.tolist()},
        **{
            unit: {
                "rows": list(CLASSES),
                "columns": columns,
                "counts": grading.confusion(units[unit], len(scene.patient_keys))
                .sum(axis=0)
                .tolist(),
            }
            for unit in ("level", "patient")
        },
    }


def _patients(scene: Scene, params: Evaluate) -> dict[str, dict[str, int]]:
    """Return the counts at the operating point by patient, for later resampling."""
    counts = operating_counts(scene, params.iou, params.score)
    return {
        key: {name: int(table[patient].sum()) for name, table in counts.items()}
        for patient, key in enumerate(scene.patient_keys)
    }


# Curves


def _curves(scene: Scene, units: dict[str, Units], scaled: Units | None, params: Evaluate) -> Json:
    return {
        "pr": precision_recall(scene),
        "roc": {unit: roc(units[unit]) for unit in ("patient", "level")},
        "calibration": {
            "before": calibration_curve(units["localised"]),
            "after": None if scaled is None else calibration_curve(scaled),
        },
        "froc": froc(scene, params.iou),
    }


def precision_recall(scene: Scene) -> dict[str, Curve | None]:
    """Return by class the interpolated precision at IoU 0.5 whose mean is COCO's AP.

    None for a class without ground truth.
    """
    (row,) = class_rankings(scene, AP50_IOU)
    return {name: _precision_recall(ranked) for name, ranked in zip(CLASSES, row, strict=True)}


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
    image = np.broadcast_to(np.arange(len(present))[:, None], present.shape)
    vertebra = scene.patient[image] * len(LEVELS) + scene.truth.level
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


def _precision_recall(ranked: Ranking) -> Curve | None:
    if not ranked.truths.sum():
        return None
    return {"recall": _rounded(RECALLS), "precision": _rounded(interpolated_precision(ranked))}


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


if __name__ == "__main__":
    run(evaluate)
