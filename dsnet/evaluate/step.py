"""The metrics of one detector over its seeds, as JSON: ``python -m dsnet.evaluate.step``.

The file holds, in this order: ``cohort``, ``synthetic``, ``leaky``, ``slices_sha256``; ``subset``,
``seeds``; ``counts``, ``thresholds`` and ``interval``, which all detectors of a table share;
``metrics`` by the names of ``definitions``, each with ``value`` (mean over the seeds), ``low`` and
``high`` (its interval) and ``method`` (how that is made), ``seed_sd`` (between the seeds) and
``by_seed``; ``chance``; ``calibration``; and, of the first seed alone, ``decision`` (net benefit),
``sample_size``, ``curves`` and their ``bands``, ``confusion`` and ``patients``. Fractions
throughout; null for undefined.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dsnet.config.evaluate import Evaluate
from dsnet.evaluate import grading
from dsnet.evaluate.calibration import (
    BINS,
    CALIBRATION,
    calibration,
    cross_fitted,
    fit_temperature,
    scaled_units,
)
from dsnet.evaluate.clinical_use import decision_curve, precision, riley
from dsnet.evaluate.curves import bands, curves
from dsnet.evaluate.grading import Units, graded_units, localised_boxes
from dsnet.evaluate.intervals import (
    COVERAGE,
    METHODS,
    MOST_UNDEFINED,
    bootstrap_weights,
    estimate_over_seeds,
    scope,
    share_over_seeds,
    value_over_seeds,
)
from dsnet.evaluate.metrics import (
    DEFINITIONS,
    all_shares,
    box_confusion,
    chance,
    has_interval,
    limits,
    operating_counts,
    permutations_of,
    permuted_map,
    statistics,
)
from dsnet.evaluate.provenance import read_provenance
from dsnet.evaluate.scene import Floats, Scene, read_scenes
from dsnet.evaluate.scene import scene as make_scene
from dsnet.files import write_json
from dsnet.schemas import CLASSES, MAX_DETECTIONS, SUPPRESSION_IOU
from dsnet.step import run

Json = dict[str, Any]

SUBSET = "test"
"""The subset on which detectors are evaluated."""


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


def compute_metrics(
    predictions: pd.DataFrame, boxes: pd.DataFrame, params: Evaluate | None = None
) -> Json:
    """Return every statistic of one detector's boxes, with intervals over patients.

    Of any detector: nothing else of this project need have made the two tables.

    Parameters
    ----------
    predictions : DataFrame
        Detections: ``image_key``; ``x_min``, ``y_min``, ``x_max``, ``y_max`` in pixels; ``label``
        and its ``score``; ``p_background``, ``p_normal``, ``p_osteopenia``, ``p_osteoporosis``. A
        box may stand in several rows, with another label in each.
    boxes : DataFrame
        Ground truth: ``image_key``, ``patient_key``, ``level`` (L1 to L4), the same edges,
        ``label``.
    params : Evaluate, optional
        The config section ``evaluate``.

    Returns
    -------
    dict
        As a file below ``results/metrics/``: ``metrics``, by statistic ``value``, ``low``, ``high``
        and ``method``, in fractions; ``definitions``; ``chance``; ``counts`` and more.

    Examples
    --------
    >>> edges = {"x_min": 9.0, "y_min": 9.0, "x_max": 30.0, "y_max": 25.0}
    >>> truth = [{"image_key": f"I{n}", "patient_key": f"P{n}", "level": "L1", **edges,
    ...           "label": label} for n, label in enumerate(["normal", "osteoporosis"] * 5)]
    >>> p = {"p_background": 0.1, "p_normal": 0.8, "p_osteopenia": 0.05, "p_osteoporosis": 0.05}
    >>> guess = [{"image_key": f"I{n}", **edges, "label": "normal", "score": 0.8, **p}
    ...          for n in range(10)]
    >>> made = compute_metrics(pd.DataFrame(guess), pd.DataFrame(truth))
    >>> made["metrics"]["recall"]["value"], made["metrics"]["box_recall"]["value"]
    (0.5, 1.0)
    """
    images = boxes[["image_key", "patient_key"]].drop_duplicates()
    numbered = boxes.assign(row=pd.factorize(boxes["image_key"])[0])
    return metrics_of([make_scene(predictions, numbered, images)], [0], params or Evaluate())


def metrics_of(
    scenes: Sequence[Scene],
    seeds: Sequence[int],
    params: Evaluate,
    temperatures: Sequence[float | None] | None = None,
) -> Json:
    """Return the content of the metrics file of a detector, without its provenance.

    Parameters
    ----------
    scenes : sequence of Scene
        The test subset with the detections of each seed.
    seeds : sequence of int
    params : Evaluate
    temperatures : sequence of float or None, optional
        Of each seed, from another cohort. By default each patient is scaled by the temperature of
        the other patients.
    """
    point = {"iou": params.iou, "score": params.score}
    patients = len(scenes[0].patient_keys)
    orders = permutations_of(patients, params.permutations, params.seed)
    permuted = np.mean([permuted_map(scene, orders) for scene in scenes], axis=0)
    weights = bootstrap_weights(patients, params.bootstrap, params.seed)
    metrics = _metrics(scenes, weights, params)
    scaling, scaled = _calibration(scenes, weights, metrics, params, temperatures)
    units = graded_units(scenes[0], **point, rule=params.patient_label)
    counts = _counts(scenes)
    return {
        "subset": SUBSET,
        "seeds": list(seeds),
        "counts": counts,
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
        "decision": decision_curve(units["patient"], weights),
        "sample_size": {
            "precision": precision(metrics, counts["patients_by_class"]),
            "riley": riley(units["patient"], metrics["patient_auc_osteoporosis"]["value"]),
        },
        "calibration": scaling,
        "curves": curves(scenes[0], units, scaled, params.iou),
        "bands": bands(scenes[0], units, scaled, params.iou, weights[1:]),
        "confusion": _confusion(scenes[0], units, params),
        "patients": _patients(scenes[0], params),
    }


def _metrics(scenes: Sequence[Scene], weights: Floats, params: Evaluate) -> Json:
    """Return every statistic over the seeds, each with the interval that suits it."""
    point = {"iou": params.iou, "score": params.score}
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
    scenes: Sequence[Scene],
    weights: Floats,
    metrics: Json,
    params: Evaluate,
    temperatures: Sequence[float | None] | None,
) -> tuple[Json, Units | None]:
    """Return how temperature scaling changes the localised boxes, and those of the first seed."""
    boxes = [localised_boxes(scene, iou=params.iou, score=params.score) for scene in scenes]
    if temperatures is None:
        fitted = [fit_temperature(units) for units in boxes]
        scaled = [cross_fitted(units) for units in boxes]
        fitted_on = "of each patient, the other patients of the test subset"
    else:
        fitted = list(temperatures)
        scaled = [scaled_units(*pair) for pair in zip(boxes, fitted, strict=True)]
        fitted_on = "the test subset of the internal cohort"
    undefined = dict.fromkeys(CALIBRATION, np.full(len(weights), np.nan))
    by_seed = [undefined if units is None else calibration(units, weights) for units in scaled]
    usable = [one for one in fitted if one is not None]
    return {
        "unit": "localised",
        "fitted_on": fitted_on,
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


if __name__ == "__main__":
    run(evaluate)
