"""HU models that remember, and HU models that learn shuffled labels, many times over.

``python -m dsnet.baseline.controls grade-nearest``: the class of the most similar training
vertebra. A model that only remembers; nobody needs it to grade bone. It shows what memory is worth:
where a patient's other slices are in training it retrieves them, and with them the label, true or
shuffled.

``python -m dsnet.baseline.controls control``: under a split by patient the training labels are
shuffled among the patients of each subset, and the test labels stay: on average nothing can be
learnt. Under a split by image the labels of all patients are shuffled, those of the test subset
with them: such labels are unrelated to bone, and all that can be learnt is who the patient is.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from dsnet import schemas
from dsnet.baseline.step import (
    baseline_metrics,
    class_indices,
    class_probability,
    fit_multinomial,
    hu,
    training_rows,
)
from dsnet.config.evaluate import Evaluate, Leakage
from dsnet.errors import UserError
from dsnet.evaluate.grading import Units, areas, pool, shares
from dsnet.evaluate.intervals import COVERAGE, estimate
from dsnet.evaluate.provenance import read_provenance
from dsnet.evaluate.scene import Floats
from dsnet.files import write_json
from dsnet.leakage import shuffled, shuffled_within
from dsnet.schemas import BOX, FEATURES, FEATURES_HU, SLICES
from dsnet.step import run


def fit_nearest(features: pd.DataFrame) -> Pipeline:
    """Return standardisation and the training rows, under the rules of `training_rows`.

    It is applied with `dsnet.baseline.step.class_probability`: 1 for the class of the nearest row.
    """
    train, _ = training_rows(features)
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(n_neighbors=1))
    return model.fit(hu(train), class_indices(train))


def grade_nearest(
    *,
    evaluation: Evaluate,
    features: Path,
    digest: Path,
    boxes: Path,
    split: Path,
    metrics: Path,
) -> None:
    """Grade the test subset by the nearest training vertebra.

    Parameters
    ----------
    evaluation : Evaluate
        As for the detectors.
    features : Path
        `schemas.FEATURES` of annotated boxes, from `dsnet.baseline.step`.
    digest, boxes, split : Path
        ``slices.json``, `schemas.SLICES` and `schemas.SPLIT`.
    metrics : Path
        JSON to write, in the form of `dsnet.evaluate.step`.

    Raises
    ------
    UserError
        If a file is missing, or features and boxes are not of the same images.
    """
    rows = schemas.read(FEATURES, features)
    edges = schemas.read(SLICES, boxes)[["image_key", "level", *BOX]]
    measured = rows.merge(edges, on=["image_key", "level"], how="left").assign(p_background=0.0)
    if measured[list(BOX)].isna().to_numpy().any():
        raise UserError(
            features.name,
            expected="features of the boxes of slices.csv",
            came="a box that is not there",
            remedy="run the workflow, which makes both from the same cohort",
        )
    measured = measured.dropna(subset=list(FEATURES_HU))
    model = fit_nearest(measured[measured["subset"] != "test"])
    probability = class_probability(model, measured)
    content = baseline_metrics(
        measured, probability, evaluation, boxes=boxes, split=split, given=True
    )
    write_json(metrics, {**read_provenance(digest, split), **content})


MODELS: dict[str, Callable[[pd.DataFrame], Pipeline]] = {
    "multinomial": fit_multinomial,
    "nearest": fit_nearest,
}


def control(
    *,
    params: Leakage,
    evaluation: Evaluate,
    features: Path,
    digest: Path,
    split: Path,
    metrics: Path,
) -> None:
    """Evaluate each HU model on shuffled labels.

    Parameters
    ----------
    params : Leakage
    evaluation : Evaluate
        Its rule for patients.
    features : Path
        `schemas.FEATURES` from `dsnet.baseline.step`, under the split to be examined.
    digest, split : Path
        ``slices.json`` and that split, `schemas.SPLIT`.
    metrics : Path
        Folder, in which ``multinomial.json`` and ``nearest.json`` are written, in the form of
        `dsnet.evaluate.step`; value, low and high are mean and quantiles over the shuffles.
    """
    provenance = read_provenance(digest, split)
    rows = schemas.read(FEATURES, features).dropna(subset=list(FEATURES_HU))
    values = shuffles(rows, params, evaluation, everybody=provenance["leaky"])
    words = "labels shuffled by patient" if provenance["leaky"] else "training labels shuffled"
    shared = {
        **provenance,
        "cohort": f"{provenance['cohort']}, {words}",
        "subset": "test",
        "seeds": [],
        "counts": _counts(rows[rows["subset"] == "test"]),
        "interval": {
            "scope": "shuffles of the labels; these test patients",
            "methods": {
                "shuffles": f"mean, 2.5 % and 97.5 % quantile over {params.shuffles} shuffles"
            },
            "coverage": COVERAGE,
            "resamples": params.shuffles,
            "seed": params.seed,
        },
    }
    for model, statistics in values.items():
        summary = {name: _summary(row) for name, row in statistics.items()}
        write_json(metrics / f"{model}.json", {**shared, "metrics": summary})


def shuffles(
    rows: pd.DataFrame, params: Leakage, evaluation: Evaluate, *, everybody: bool
) -> dict[str, dict[str, Floats]]:
    """Return each model's statistics under each shuffle of the labels.

    Parameters
    ----------
    rows : DataFrame
        Measured rows of `schemas.FEATURES`.
    params : Leakage
    evaluation : Evaluate
    everybody : bool
        Whether labels are shuffled among the patients of all subsets, test labels included; else
        within each of training and validation.

    Returns
    -------
    dict of dict of float64 (shuffles,)
        By model and statistic.
    """
    rng = np.random.default_rng([params.seed, 3])
    values: dict[str, list[dict[str, float]]] = {model: [] for model in MODELS}
    for _ in range(params.shuffles):
        labels = shuffled(rows, rng) if everybody else shuffled_within(rows, rows["subset"], rng)
        relabelled = rows.assign(label=labels)
        is_test = relabelled["subset"] == "test"
        test, others = relabelled[is_test], relabelled[~is_test]
        for model, fit in MODELS.items():
            values[model].append(_grades(test, class_probability(fit(others), test), evaluation))
    return {
        model: {name: np.array([one[name] for one in every]) for name in every[0]}
        for model, every in values.items()
    }


def _summary(row: Floats) -> dict[str, Any]:
    """Return mean and quantiles over the shuffles under which a statistic is defined."""
    defined = row[~np.isnan(row)]
    mean = defined.mean() if len(defined) else np.nan
    bounds = estimate(np.concatenate([[mean], defined]))
    return {**bounds, "method": "shuffles", "seed_sd": None, "by_seed": []}


def _grades(test: pd.DataFrame, probability: Floats, evaluation: Evaluate) -> dict[str, float]:
    """Return the statistics of boxes and of patients, each patient counted once."""
    patient, keys = pd.factorize(test["patient_key"])
    truth = class_indices(test)
    severest = np.zeros(len(keys), dtype=np.int64)
    np.maximum.at(severest, patient, truth)
    pooled, answered = pool(probability, patient, len(keys), evaluation.patient_label)
    units = {
        "localised": Units(truth, probability, patient, np.ones(len(truth), dtype=np.bool_)),
        "patient": Units(severest, pooled, np.arange(len(keys)), answered),
    }
    once = np.ones((1, len(keys)))
    return {
        f"{unit}_{name}": float(values[0])
        for unit, each in units.items()
        for name, values in (
            ("accuracy", shares(each, len(keys))["accuracy"].of(once)),
            ("macro_auc", areas(each, once)["macro_auc"]),
        )
    }


def _counts(test: pd.DataFrame) -> dict[str, Any]:
    by_class = [
        {name: int((labels == name).sum()) for name in schemas.CLASSES}
        for labels in (test["label"], test.groupby("patient_key")["label"].first())
    ]
    return {
        "patients": int(test["patient_key"].nunique()),
        "images": int(test["image_key"].nunique()),
        "boxes": len(test),
        "boxes_by_class": by_class[0],
        "patients_by_class": by_class[1],
    }


if __name__ == "__main__":
    run(grade_nearest, control)
