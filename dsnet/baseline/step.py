"""Grading the test subset by HU: ``python -m dsnet.baseline.step``.

A baseline's classes are written in the form of a detector's predictions, so that both are
evaluated alike, on the same resamples of the same patients.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from dsnet import schemas
from dsnet.baseline.features import annotated, best_boxes, detected
from dsnet.baseline.models import Grader
from dsnet.config.evaluate import Baseline, Evaluate
from dsnet.evaluate.grading import UNITS
from dsnet.evaluate.provenance import read_provenance
from dsnet.evaluate.scene import Floats, scene
from dsnet.evaluate.step import metrics_of
from dsnet.files import write_json
from dsnet.schemas import BOX, CLASSES, FEATURES, FEATURES_HU, PREDICTIONS, SCORE_FLOOR, SUBSETS
from dsnet.slices.store import SliceStore
from dsnet.step import run

_CURVES = ("roc", "calibration")
"""Curves that mean something where the boxes are the annotated ones."""


def grade(
    *,
    params: Baseline,
    evaluation: Evaluate,
    digest: Path,
    store: Path,
    boxes: Path,
    split: Path,
    features: Path,
    model: Path,
    metrics: Path,
    detections: Path | None = None,
    fitted_on: Path | None = None,
) -> None:
    """Grade the test subset by the HU in its annotated boxes, or in a detector's own.

    The models are always fitted on annotated boxes: training has annotations, later use has none.

    Parameters
    ----------
    params : Baseline
    evaluation : Evaluate
        As for the detectors; a detector's box is measured from the same score on.
    digest : Path
        ``slices.json``, which names the cohort and says whether it is synthetic.
    store, boxes, split : Path
        The slice store, `schemas.SLICES` and `schemas.SPLIT`.
    features : Path
        Written: `schemas.FEATURES`, one row per annotated box of all subsets.
    model : Path
        Written: how many boxes were measured, and what was fitted, as JSON.
    metrics : Path
        Folder, in which are written, in the form of `dsnet.evaluate.step`: ``thresholds.json``
        (three classes by two thresholds), ``balanced.json`` (osteoporosis alone by the balanced
        threshold) and ``multinomial.json`` (fitted on the training subset).
    detections : Path, optional
        A detector's predictions of the test subset, under `schemas.PREDICTIONS`. A slice on which
        it reports no box has no measurement. Annotated boxes are measured unless given.
    fitted_on : Path, optional
        `schemas.FEATURES` of the internal cohort, whose models grade an external one.
    """
    images, rows = SliceStore(store, boxes), boxes_with_subset(boxes, split)
    if detections is None:
        measured = annotated(images, rows, params)
    else:
        test = rows["subset"] == "test"
        best = best_boxes(schemas.read(PREDICTIONS, detections), evaluation.score)
        measured = pd.concat(
            [annotated(images, rows[~test], params), detected(images, rows[test], best, params)],
            ignore_index=True,
        )
    known = schemas.read(FEATURES, fitted_on) if fitted_on else measured
    grader = Grader.fit(known[known["subset"] != "test"], params)
    schemas.write(FEATURES, measured[list(FEATURES.columns)], features)
    subsets = [name for name in SUBSETS if (measured["subset"] == name).any()]
    counts = {name: _counts(measured[measured["subset"] == name]) for name in subsets}
    write_json(model, {"vertebrae": counts, "multinomial": grader.facts()})
    usable = measured.dropna(subset=list(FEATURES_HU))
    for method, probability in grader.grades(usable).items():
        content = baseline_metrics(
            usable,
            probability,
            evaluation,
            boxes=boxes,
            split=split,
            given=detections is None,
        )
        write_json(metrics / f"{method}.json", {**read_provenance(digest, split), **content})


def boxes_with_subset(boxes: Path, split: Path) -> pd.DataFrame:
    """Return `schemas.SLICES` with the subset of each image."""
    rows = schemas.read(schemas.SLICES, boxes)
    subsets = schemas.read(schemas.SPLIT, split).set_index("image_key")["subset"]
    return rows.assign(subset=rows["image_key"].map(subsets))


def baseline_metrics(
    measured: pd.DataFrame,
    probability: Floats,
    evaluation: Evaluate,
    *,
    boxes: Path,
    split: Path,
    given: bool,
) -> dict[str, Any]:
    """Return the content of a baseline's metrics file, in the form of a detector's.

    There is no training, so there are no seeds. Boxes that were given are no evidence of
    localisation: then only what is graded by its class stays, and ``chance`` is about the mean
    average precision with which the classes rank the given boxes.

    Parameters
    ----------
    measured : DataFrame
        Measured rows as `dsnet.baseline.features.annotated` returns them, of the test subset and
        perhaps others.
    probability : float64 (n, 3)
        Their classes; rows sum to 1.
    evaluation : Evaluate
    boxes, split : Path
        `schemas.SLICES` and `schemas.SPLIT`.
    given : bool
        Whether the test subset's boxes are the annotated ones.
    """
    predictions = as_predictions(measured, probability)
    rows, images = schemas.read(schemas.SLICES, boxes), schemas.read(schemas.SPLIT, split)
    test = scene(predictions, rows, images[images["subset"] == "test"])
    content = metrics_of([test], [], evaluation)
    kept = [name for name in content["metrics"] if not given or name.split("_")[0] in UNITS]
    content["metrics"] = {name: {**content["metrics"][name], "by_seed": []} for name in kept}
    content["definitions"] = {name: content["definitions"][name] for name in kept}
    precise = content["sample_size"]["precision"]
    content["sample_size"]["precision"] = {name: precise[name] for name in precise if name in kept}
    if given:
        for kind in ("curves", "bands"):
            content[kind] = {name: content[kind][name] for name in _CURVES}
    return content


def as_predictions(measured: pd.DataFrame, probability: Floats) -> pd.DataFrame:
    """Return one detection for each box and class.

    Parameters
    ----------
    measured : DataFrame
        `image_key`, edges and `p_background` of the boxes measured.
    probability : float64 (n, 3)
        Of the classes, given that the box shows a vertebra; rows sum to 1.

    Returns
    -------
    DataFrame
        Under `schemas.PREDICTIONS`; class probabilities are shares of 1 - p_background. Classes
        less likely than `SCORE_FLOOR` are left out, as a detector's are.
    """
    shares = probability * (1 - measured["p_background"].to_numpy())[:, None]
    rows = measured[["image_key", *BOX, "p_background"]].assign(
        **{f"p_{name}": shares[:, k] for k, name in enumerate(CLASSES)}
    )
    every = [rows.assign(label=name, score=rows[f"p_{name}"]) for name in CLASSES]
    table = pd.concat(every).sort_index(kind="stable")
    table = table[table["score"] >= SCORE_FLOOR].astype({"image_key": str, "label": str})
    # A detector's one box may stand for two annotated ones.
    return table[list(PREDICTIONS.columns)].drop_duplicates(ignore_index=True)


def _counts(rows: pd.DataFrame) -> dict[str, Any]:
    """Return whose boxes were measured, and how many could be."""
    measured = rows.dropna(subset=list(FEATURES_HU))
    return {"box": rows["box"].iloc[0], "annotated": len(rows), "measured": len(measured)}


if __name__ == "__main__":
    run(grade)
