"""The baseline step: boxes and a split in, measurements and their judgement out."""

from pathlib import Path
from typing import Any

import pandas as pd

from dsnet import schemas
from dsnet.baseline.features import annotated, best_boxes, detected
from dsnet.baseline.grader import Grader
from dsnet.baseline.judge import judge, scene_of
from dsnet.config.evaluate import Baseline, Evaluate
from dsnet.evaluate.about import read_about
from dsnet.files import write_json
from dsnet.schemas import FEATURES, FEATURES_HU, SUBSETS
from dsnet.slices.store import SliceStore


def grade_annotated(
    *,
    params: Baseline,
    judging: Evaluate,
    digest: Path,
    store: Path,
    boxes: Path,
    split: Path,
    features: Path,
    model: Path,
    metrics: Path,
) -> None:
    """Grade the test part by the HU in its annotated boxes.

    Parameters
    ----------
    params : Baseline
    judging : Evaluate
        As for the detectors.
    digest : Path
        ``slices.json``, which names the cohort and says whether it is synthetic.
    store, boxes, split : Path
        The slice store, `schemas.SLICES` and `schemas.SPLIT`.
    features : Path
        Written: `schemas.FEATURES`, one row per annotated box of all parts.
    model : Path
        Written: how many boxes were measured, and what was fitted, as JSON.
    metrics : Path
        Folder, in which are written, in the form of `dsnet.evaluate.report`: ``thresholds.json``
        (three classes by two thresholds), ``balanced.json`` (osteoporosis alone by the balanced
        threshold), ``multinomial.json`` and ``nearest.json`` (fitted on the training part).
    """
    measured = annotated(SliceStore(store, boxes), _drawn(boxes, split), params)
    grader = _fit(measured, params, features, model)
    data = {"digest": digest, "boxes": boxes, "split": split}
    _judge(measured, grader, judging, **data, metrics=metrics, given=True)


def grade_detected(
    *,
    params: Baseline,
    judging: Evaluate,
    detections: Path,
    digest: Path,
    store: Path,
    boxes: Path,
    split: Path,
    features: Path,
    model: Path,
    metrics: Path,
) -> None:
    """Grade the test part by the HU in a detector's own boxes.

    The models are those of `grade_annotated`: training has annotations, later use has none.

    Parameters
    ----------
    params : Baseline
    judging : Evaluate
        As for the detectors; a box is measured from the same score on.
    detections : Path
        What the detector found on the test part, under `schemas.PREDICTIONS`. A slice on which
        it found nothing has no measurement.
    digest, store, boxes, split, features, model, metrics : Path
        As for `grade_annotated`.
    """
    images, drawn = SliceStore(store, boxes), _drawn(boxes, split)
    test = drawn["subset"] == "test"
    found = best_boxes(schemas.read(schemas.PREDICTIONS, detections), judging.score)
    parts = [annotated(images, drawn[~test], params), detected(images, drawn[test], found, params)]
    measured = pd.concat(parts, ignore_index=True)
    grader = _fit(measured, params, features, model)
    data = {"digest": digest, "boxes": boxes, "split": split}
    _judge(measured, grader, judging, **data, metrics=metrics, given=False)


def _drawn(boxes: Path, split: Path) -> pd.DataFrame:
    """Return `schemas.SLICES` with the part of each image."""
    drawn = schemas.read(schemas.SLICES, boxes)
    parts = schemas.read(schemas.SPLIT, split).set_index("image_key")["subset"]
    return drawn.assign(subset=drawn["image_key"].map(parts))


def _fit(measured: pd.DataFrame, params: Baseline, features: Path, model: Path) -> Grader:
    """Return the grader; write what was measured, and what was fitted."""
    grader = Grader.fit(measured[measured["subset"] != "test"], params)
    schemas.write(FEATURES, measured[list(FEATURES.columns)], features)
    counts = {part: _counts(measured[measured["subset"] == part]) for part in SUBSETS}
    write_json(model, {"vertebrae": counts, "multinomial": grader.facts()})
    return grader


def _counts(rows: pd.DataFrame) -> dict[str, Any]:
    """Return whose boxes were taken, and how many could be measured."""
    measured = rows.dropna(subset=list(FEATURES_HU))
    return {"box": rows["box"].iloc[0], "annotated": len(rows), "measured": len(measured)}


def _judge(
    measured: pd.DataFrame,
    grader: Grader,
    judging: Evaluate,
    *,
    digest: Path,
    boxes: Path,
    split: Path,
    metrics: Path,
    given: bool,
) -> None:
    drawn, parts = schemas.read(schemas.SLICES, boxes), schemas.read(schemas.SPLIT, split)
    about = read_about(digest, split)
    usable = measured.dropna(subset=list(FEATURES_HU))
    for method, probability in grader.grades(usable).items():
        test, validation = (
            scene_of(usable, probability, drawn=drawn, split=parts[parts["subset"] == part])
            for part in ("test", "validation")
        )
        told = judge(test, validation, judging, given=given)
        write_json(metrics / f"{method}.json", {**about, **told})
