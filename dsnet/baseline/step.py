"""Grading the test subset by HU: ``python -m dsnet.baseline.step``.

A vertebra is graded by fixed thresholds, and by logistic regression. P. J. Pickhardt et al.,
"Opportunistic screening for osteoporosis using abdominal computed tomography scans obtained for
other indications", Ann. Intern. Med. 158(8), 588-595, 2013,
https://doi.org/10.7326/0003-4819-158-8-201304160-00003: at L1, 160 HU is sensitive (about 90 %),
135 HU balanced and 110 HU specific (more than 90 %) for osteoporosis. The paper has no rule for
three classes; ours takes the sensitive threshold as the end of normal bone and the specific one as
the beginning of osteoporosis. 135 HU stands as a rule for osteoporosis alone.

A level or a patient is then graded as a detector's is, by the classes of its boxes
(`evaluate.patient_label`), not by their mean HU. Its classes are written in the form of a
detector's predictions, so that both are evaluated alike, on the same resamples of the same
patients.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from dsnet import schemas
from dsnet.baseline.features import annotated, best_boxes, detected
from dsnet.config.evaluate import Baseline, Evaluate
from dsnet.errors import UserError
from dsnet.evaluate.grading import UNITS
from dsnet.evaluate.provenance import read_provenance
from dsnet.evaluate.scene import Floats, Integers, scene
from dsnet.evaluate.step import metrics_of
from dsnet.files import write_json
from dsnet.schemas import BOX, CLASSES, FEATURES, FEATURES_HU, PREDICTIONS, SCORE_FLOOR, SUBSETS
from dsnet.slices import SliceStore
from dsnet.step import run

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""Inverse strengths of the ridge penalty to choose from, the strongest penalty first."""

_TINY = float(np.finfo(np.float64).tiny)


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
    images, rows = SliceStore(store, boxes), schemas.read(schemas.SLICES, boxes)
    subset = schemas.read(schemas.SPLIT, split).set_index("image_key")["subset"]
    rows = rows.assign(subset=rows["image_key"].map(subset))
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
    fitted = fit_multinomial(known[known["subset"] != "test"])
    schemas.write(FEATURES, measured[list(FEATURES.columns)], features)
    subsets = [name for name in SUBSETS if (measured["subset"] == name).any()]
    counts = {name: _counts(measured[measured["subset"] == name]) for name in subsets}
    write_json(model, {"vertebrae": counts, "multinomial": _facts(fitted, params)})
    usable = measured.dropna(subset=list(FEATURES_HU))
    core_mean_hu = usable["core_mean_hu"].to_numpy()
    grades = {
        "thresholds": three_classes(core_mean_hu, params),
        "balanced": osteoporosis_alone(core_mean_hu, params.balanced_hu),
        "multinomial": class_probability(fitted, usable),
    }
    for method, probability in grades.items():
        content = baseline_metrics(
            usable,
            probability,
            evaluation,
            boxes=boxes,
            split=split,
            given=detections is None,
        )
        write_json(metrics / f"{method}.json", {**read_provenance(digest, split), **content})


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


def _facts(model: Pipeline, params: Baseline) -> dict[str, Any]:
    """Return what others need to apply a model; the logits are intercept + weights . z."""
    scaler, regression = (step for _, step in model.steps)
    return {
        "settings": params.model_dump(),
        "features": list(FEATURES_HU),
        "mean_hu": scaler.mean_.round(4).tolist(),
        "sd_hu": scaler.scale_.round(4).tolist(),
        "classes": [CLASSES[k] for k in regression.classes_],
        "intercept": regression.intercept_.round(6).tolist(),
        "weights": regression.coef_.round(6).tolist(),
        "penalty_inverse_strength": regression.C,
    }


def _counts(rows: pd.DataFrame) -> dict[str, Any]:
    """Return whose boxes were measured, and how many could be."""
    measured = rows.dropna(subset=list(FEATURES_HU))
    return {"box": rows["box"].iloc[0], "annotated": len(rows), "measured": len(measured)}


def three_classes(core_mean_hu: Floats, params: Baseline) -> Floats:
    """Return 1 for the class by the two outer thresholds and 0 for the others.

    Normal from `normal_hu` on, osteoporosis below `osteoporosis_hu`, osteopenia between.

    Parameters
    ----------
    core_mean_hu : float64 (n,)
    params : Baseline

    Returns
    -------
    float64 (n, 3)
        In the order of `schemas.CLASSES`. A rule is never uncertain: its probabilities are 0 and 1.

    Examples
    --------
    >>> three_classes(np.array([135.0]), Baseline()).tolist()
    [[0.0, 1.0, 0.0]]
    """
    severity = (core_mean_hu < params.normal_hu).astype(np.int64)
    severity += core_mean_hu < params.osteoporosis_hu
    return np.eye(len(CLASSES))[severity]


def osteoporosis_alone(core_mean_hu: Floats, threshold_hu: float) -> Floats:
    """Return 1 for osteoporosis below the threshold, else for normal, as `three_classes` does."""
    severity = np.where(core_mean_hu < threshold_hu, len(CLASSES) - 1, 0)
    return np.eye(len(CLASSES))[severity]


def fit_multinomial(features: pd.DataFrame) -> Pipeline:
    """Return a multinomial logistic regression on standardised HU features.

    Parameters
    ----------
    features : DataFrame
        As for `training_rows`. Training rows are fitted; validation rows choose the ridge penalty,
        by the mean negative logarithm of the true class's probability, and nothing else.
    """
    train, validation = training_rows(features)
    right = np.arange(len(validation)), class_indices(validation)
    models = [
        make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(
            hu(train), class_indices(train)
        )
        for strength in STRENGTHS
    ]

    def loss(model: Pipeline) -> float:
        likelihood = np.maximum(class_probability(model, validation)[right], _TINY)
        return float(-np.log(likelihood).mean())

    return min(models, key=loss)


def class_probability(model: Pipeline, features: pd.DataFrame) -> Floats:
    """Return the class probabilities of measured rows by a fitted model, float64 (n, 3)."""
    probability = np.zeros((len(features), len(CLASSES)))
    if len(features):
        probability[:, model.classes_] = model.predict_proba(hu(features))
    return probability


def training_rows(features: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the measured rows of training and validation.

    Parameters
    ----------
    features : DataFrame
        Rows of `schemas.FEATURES` of these two subsets.

    Raises
    ------
    ValueError
        If there is a row of another subset: the test subset must not reach a fit.
    UserError
        If one of the two subsets holds no measurement.
    """
    others = set(features["subset"]) - {"train", "validation"}
    if others:
        raise ValueError(f"rows of {', '.join(sorted(others))} must not reach a fit")
    measured = features.dropna(subset=list(FEATURES_HU))
    train, validation = (measured[measured["subset"] == name] for name in ("train", "validation"))
    for name, rows in (("training", train), ("validation", validation)):
        if rows.empty:
            raise UserError(
                "features.csv",
                expected=f"measured vertebrae in the {name} subset",
                came="none",
                remedy="set slices.pixel_mm to less, or baseline's fractions to more",
            )
    return train, validation


def hu(features: pd.DataFrame) -> Floats:
    """Return the features alone, float64 (n, 4)."""
    return features[list(FEATURES_HU)].to_numpy(np.float64)


def class_indices(features: pd.DataFrame) -> Integers:
    """Return the labels as indices into `schemas.CLASSES`, int64 (n,)."""
    return features["label"].map(CLASSES.index).to_numpy(np.int64)


if __name__ == "__main__":
    run(grade)
