"""The class of the most similar training vertebra: ``python -m dsnet.leakage.nearest``.

A model that only remembers. Nobody needs it to grade bone. It shows what memory is worth: where a
patient's other slices are in training it retrieves them, and with them the label, true or shuffled.
"""

from pathlib import Path

import pandas as pd
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from dsnet import schemas
from dsnet.baseline.step import (
    baseline_metrics,
    class_indices,
    class_probability,
    hu,
    training_rows,
)
from dsnet.config.evaluate import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate.provenance import read_provenance
from dsnet.files import write_json
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


if __name__ == "__main__":
    run(grade_nearest)
