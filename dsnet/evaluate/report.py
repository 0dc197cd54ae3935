"""The metrics of one detector, with their intervals and what they were made from, as JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from dsnet.config import Evaluate
from dsnet.contract import CLASSES
from dsnet.errors import UserError
from dsnet.evaluate import bootstrap, permutation
from dsnet.evaluate.metrics import DEFINITIONS, confusion, operating_counts, statistics
from dsnet.evaluate.scene import MAX_DETECTIONS, SUPPRESSION_IOU, Scene, read_scene
from dsnet.files import write_json


def evaluate(
    *,
    predictions: Path,
    boxes: Path,
    split: Path,
    digest: Path,
    part: str = "test",
    metrics: Path,
    params: Evaluate,
) -> None:
    """Judge the predictions of one detector on one part of the split.

    Parameters
    ----------
    predictions : Path
        Its detections, under `contract.PREDICTIONS`.
    boxes : Path
        Ground truths on the same grid, under `contract.SLICES`.
    split : Path
        Under `contract.SPLIT`.
    digest : Path
        Digest of the slice store, which names the cohort and says whether it is synthetic.
    part : str
        Part of the split to judge on.
    metrics : Path
        JSON to write.
    params : Evaluate
    """
    about = read_about(digest)
    write_json(
        metrics, {**about, **report(read_scene(predictions, boxes, split, part), part, params)}
    )


def report(scene: Scene, part: str, params: Evaluate) -> dict[str, Any]:
    """Return what the metrics file says of a scene: fractions; None for undefined."""
    weights = bootstrap.weights(len(scene.patient_keys), params.bootstrap, params.seed)
    values = statistics(scene, weights, iou=params.iou, score=params.score)
    drawn = permutation.draw(len(scene.patient_keys), params.permutations, params.seed)
    return {
        "part": part,
        "counts": _counts(scene),
        "thresholds": {
            "iou": params.iou,
            "score": params.score,
            "suppression_iou": SUPPRESSION_IOU,
            "max_detections": MAX_DETECTIONS,
        },
        "interval": {
            "method": "percentile bootstrap over patients",
            "coverage": bootstrap.COVERAGE,
            "resamples": params.bootstrap,
            "seed": params.seed,
        },
        "metrics": {name: bootstrap.estimate(values[name]) for name in DEFINITIONS},
        "definitions": DEFINITIONS,
        "chance": permutation.chance(permutation.permuted_map(scene, drawn), values["map"]),
        "confusion": _confusion(scene, params),
        "patients": _patients(scene, params),
    }


def read_about(digest: Path) -> dict[str, Any]:
    """Return the cohort's name and whether it is synthetic, from the slice store's digest.

    Raises
    ------
    UserError
        If the file is missing or is no such digest.
    """
    try:
        about = json.loads(digest.read_text(encoding="utf-8"))
        return {"cohort": str(about["cohort"]), "synthetic": bool(about["synthetic"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            digest.name,
            expected="the digest of the slice store, with cohort and synthetic",
            came="no such file or something else in it",
            remedy="run the workflow, which makes it first",
        ) from error


def _counts(scene: Scene) -> dict[str, Any]:
    label = scene.truth.label
    of_class = {name: label == k for k, name in enumerate(CLASSES)}
    return {
        "patients": len(scene.patient_keys),
        "images": len(scene.patient),
        "boxes": int((label >= 0).sum()),
        "detections": len(scene.detections.score),
        "boxes_by_class": {name: int(mine.sum()) for name, mine in of_class.items()},
        "patients_by_class": {
            name: len(np.unique(scene.patient[mine.any(axis=1)])) for name, mine in of_class.items()
        },
    }


def _confusion(scene: Scene, params: Evaluate) -> dict[str, Any]:
    table = confusion(scene, params.iou, params.score).sum(axis=0)
    return {
        "rows_true": [*CLASSES, "false_box"],
        "columns_predicted": [*CLASSES, "missed"],
        "counts": table.tolist(),
    }


def _patients(scene: Scene, params: Evaluate) -> dict[str, dict[str, int]]:
    """Return the counts of the operating point by patient, for whoever resamples them."""
    counts = operating_counts(scene, params.iou, params.score)
    return {
        key: {name: int(table[patient].sum()) for name, table in counts.items()}
        for patient, key in enumerate(scene.patient_keys)
    }
