"""The metrics of one detector over its seeds, with intervals and what they were made from, as JSON.

The file says, in this order: ``cohort``, ``synthetic``, ``leaky``; ``part``, ``seeds``; ``counts``,
``thresholds`` and ``interval``, which all detectors of a table share; ``metrics`` by the names of
``definitions``, each with ``value`` (mean over the seeds), ``low`` and ``high`` (the patients'
interval of that mean), ``seed_sd`` (between the seeds) and ``by_seed``; ``chance``;
``calibration``; and, of the first seed alone, ``curves``, ``confusion`` and ``patients``.
Fractions throughout; null for undefined.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsnet.config.evaluate import Evaluate
from dsnet.evaluate import bootstrap, curves, grading, permutation
from dsnet.evaluate.about import read_about
from dsnet.evaluate.calibration import fit_temperature, scale
from dsnet.evaluate.grading import Units
from dsnet.evaluate.matching import Floats
from dsnet.evaluate.metrics import (
    DEFINITIONS,
    confusion,
    judged_units,
    operating_counts,
    statistics,
)
from dsnet.evaluate.scene import MAX_DETECTIONS, SUPPRESSION_IOU, Scene, read_scenes
from dsnet.evaluate.units import found
from dsnet.files import write_json
from dsnet.schemas import CLASSES

Json = dict[str, Any]

PART = "test"


def evaluate(
    *,
    predictions: Path,
    seeds: str,
    boxes: Path,
    split: Path,
    digest: Path,
    metrics: Path,
    params: Evaluate,
) -> None:
    """Judge one detector on the test part, over all its seeds.

    Parameters
    ----------
    predictions : Path
        Folder of ``seed{seed}/test.parquet`` and ``seed{seed}/validation.parquet``, both under
        `schemas.PREDICTIONS`. On the validation part the temperature is fitted, nothing else.
    seeds : str
        With commas between: ``0,1,2``.
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
    numbers = [int(seed) for seed in seeds.split(",")]
    folders = [predictions / f"seed{number}" for number in numbers]
    test, validation = (
        read_scenes([folder / f"{part}.parquet" for folder in folders], boxes, split, part)
        for part in (PART, "validation")
    )
    about = read_about(digest, split)
    write_json(metrics, {**about, **report(test, validation, numbers, params)})


def report(
    test: Sequence[Scene], validation: Sequence[Scene], seeds: Sequence[int], params: Evaluate
) -> Json:
    """Return what the metrics file says of a detector.

    Parameters
    ----------
    test, validation : sequence of Scene
        The part to judge on, and that to calibrate on, of each seed.
    seeds : sequence of int
    params : Evaluate
    """
    people = len(test[0].patient_keys)
    weights = bootstrap.weights(people, params.bootstrap, params.seed)
    judged = [
        statistics(scene, weights, iou=params.iou, score=params.score, rule=params.patient_label)
        for scene in test
    ]
    values = {name: np.stack([one[name] for one in judged]) for name in DEFINITIONS}
    drawn = permutation.draw(people, params.permutations, params.seed)
    by_lot = np.mean([permutation.permuted_map(scene, drawn) for scene in test], axis=0)
    calibration, scaled = _calibration(test, validation, weights, params)
    return {
        "subset": PART,
        "seeds": list(seeds),
        "counts": _counts(test),
        **_settings(params),
        "metrics": {name: bootstrap.estimate_over_seeds(values[name]) for name in DEFINITIONS},
        "definitions": DEFINITIONS,
        "chance": permutation.chance(by_lot, values["map"].mean(axis=0)),
        "calibration": calibration,
        "curves": _curves(test[0], scaled, params),
        "confusion": _confusion(test[0], params),
        "patients": _patients(test[0], params),
    }


def _settings(params: Evaluate) -> Json:
    return {
        "thresholds": {
            "iou": params.iou,
            "score": params.score,
            "suppression_iou": SUPPRESSION_IOU,
            "max_detections": MAX_DETECTIONS,
            "patient_label": params.patient_label,
            "calibration_bins": grading.BINS,
        },
        "interval": {
            "method": "percentile bootstrap over patients, of the mean over the seeds",
            "coverage": bootstrap.COVERAGE,
            "most_undefined": bootstrap.MOST_UNDEFINED,
            "resamples": params.bootstrap,
            "seed": params.seed,
        },
    }


def _counts(test: Sequence[Scene]) -> Json:
    """Return the counts of what there is to find, and of each seed's detections."""
    scene = test[0]
    label = scene.truth.label
    of_class = {name: label == k for k, name in enumerate(CLASSES)}
    return {
        "patients": len(scene.patient_keys),
        "images": len(scene.patient),
        "boxes": int((label >= 0).sum()),
        "detections": [len(one.detections.score) for one in test],
        "boxes_by_class": {name: int(mine.sum()) for name, mine in of_class.items()},
        "patients_by_class": {
            name: len(np.unique(scene.patient[mine.any(axis=1)])) for name, mine in of_class.items()
        },
    }


def _calibration(
    test: Sequence[Scene], validation: Sequence[Scene], weights: Floats, params: Evaluate
) -> tuple[Json, Units | None]:
    """Return what scaling does to the boxes found, and those of the first seed, scaled."""
    known = [found(scene, iou=params.iou, score=params.score) for scene in validation]
    fitted = [fit_temperature(units) for units in known]
    judged = [found(scene, iou=params.iou, score=params.score) for scene in test]
    scaled = [
        None if one is None else units.with_probability(scale(units.probability, one))
        for units, one in zip(judged, fitted, strict=True)
    ]
    usable = [one for one in fitted if one is not None]
    return {
        "unit": "found",
        "temperature": round(float(np.mean(usable)), 6) if len(usable) == len(fitted) else None,
        "temperature_by_seed": [None if one is None else round(one, 6) for one in fitted],
        "validation_boxes_by_seed": [len(units.truth) for units in known],
        "ece_before": _calibration_error(judged, weights),
        "ece_after": _calibration_error(scaled, weights),
    }, scaled[0]


def _calibration_error(judged: Sequence[Units | None], weights: Floats) -> Json:
    """Return the expected calibration error, undefined where a seed has no temperature."""
    values = [
        np.full(len(weights), np.nan)
        if units is None
        else grading.calibration_error(units, weights)
        for units in judged
    ]
    return bootstrap.estimate_over_seeds(np.stack(values))


def _curves(scene: Scene, scaled: Units | None, params: Evaluate) -> Json:
    judged = _judged(scene, params)
    return {
        "pr": curves.precision_recall(scene),
        "roc": {unit: curves.roc(judged[unit]) for unit in ("patient", "level")},
        "calibration": {
            "before": curves.calibration(judged["found"]),
            "after": None if scaled is None else curves.calibration(scaled),
        },
        "froc": curves.froc(scene, params.iou),
    }


def _confusion(scene: Scene, params: Evaluate) -> Json:
    """Return the confusion matrices; rows are the true class, columns the likeliest one."""
    boxes = confusion(scene, params.iou, params.score).sum(axis=0)
    judged = _judged(scene, params)
    missed = [*CLASSES, "missed"]
    return {
        "box": {"rows": [*CLASSES, "false box"], "columns": missed, "counts": boxes.tolist()},
        **{
            unit: {
                "rows": list(CLASSES),
                "columns": missed,
                "counts": grading.confusion(judged[unit], len(scene.patient_keys))
                .sum(axis=0)
                .tolist(),
            }
            for unit in ("level", "patient")
        },
    }


def _judged(scene: Scene, params: Evaluate) -> dict[str, Units]:
    return judged_units(scene, iou=params.iou, score=params.score, rule=params.patient_label)


def _patients(scene: Scene, params: Evaluate) -> dict[str, dict[str, int]]:
    """Return the counts of the operating point by patient, for whoever resamples them."""
    counts = operating_counts(scene, params.iou, params.score)
    return {
        key: {name: int(table[patient].sum()) for name, table in counts.items()}
        for patient, key in enumerate(scene.patient_keys)
    }
