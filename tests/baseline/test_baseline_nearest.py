import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dsnet import schemas
from dsnet.baseline.controls import fit_nearest, grade_nearest
from dsnet.baseline.step import class_indices, class_probability, grade
from dsnet.config.evaluate import Baseline, Evaluate
from dsnet.errors import UserError
from dsnet.files import sha256
from dsnet.schemas import CLASSES, FEATURES_HU
from dsnet.step import run

FEW = Evaluate(bootstrap=100, permutations=100)


def made_features() -> pd.DataFrame:
    """Return rows whose features say nothing about their class."""
    rng = np.random.default_rng(0)
    subset = ["train"] * 30 + ["validation"] * 9
    values = rng.normal(150, 30, (len(subset), len(FEATURES_HU)))
    label = [CLASSES[k] for k in rng.integers(3, size=len(subset))]
    columns = dict(zip(FEATURES_HU, values.T, strict=True))
    return pd.DataFrame({"subset": subset, "label": label, **columns})


def test_the_nearest_neighbour_remembers_labels_that_mean_nothing() -> None:
    features = made_features()
    train = features[features["subset"] == "train"]
    model = fit_nearest(features)
    assert (class_probability(model, train).argmax(axis=1) == class_indices(train)).all()
    assert class_probability(model, train.iloc[:0]).shape == (0, 3)


def test_no_fit_takes_a_test_row() -> None:
    with pytest.raises(ValueError, match="rows of test must not reach a fit"):
        fit_nearest(made_features().assign(subset="test"))


@pytest.fixture
def features(ellipses: Any, tmp_path: Path) -> Path:
    path = tmp_path / "features.csv"
    files = {"features": path, "model": tmp_path / "model.json", "metrics": tmp_path / "metrics"}
    grade(params=Baseline(), evaluation=FEW, **ellipses.paths(), **files)
    return path


def test_the_step_grades_the_test_subset_from_the_features_file(
    ellipses: Any, features: Path, tmp_path: Path
) -> None:
    named = {
        "evaluation": FEW.model_dump_json(),
        "features": features,
        "digest": ellipses.digest,
        "boxes": ellipses.boxes,
        "split": ellipses.split,
        "metrics": tmp_path / "nearest.json",
    }
    run(
        grade_nearest,
        argv=[word for name, value in named.items() for word in (f"--{name}", str(value))],
    )
    made = json.loads((tmp_path / "nearest.json").read_text())
    other = json.loads((tmp_path / "metrics" / "multinomial.json").read_text())
    assert list(made) == list(other)
    assert set(made["metrics"]) == set(other["metrics"])
    assert made["slices_sha256"] == sha256(ellipses.digest)
    assert made["metrics"]["patient_accuracy"]["value"] == 1
    assert made["metrics"]["localised_macro_auc"]["value"] == 1


def test_features_of_other_boxes_are_refused(ellipses: Any, features: Path, tmp_path: Path) -> None:
    rows = schemas.read(schemas.FEATURES, features)
    rows.loc[0, "level"] = "L4"
    schemas.write(schemas.FEATURES, rows, features)
    files = {"digest": ellipses.digest, "boxes": ellipses.boxes, "split": ellipses.split}
    with pytest.raises(UserError, match=r"features\.csv: expected features of the boxes"):
        grade_nearest(evaluation=FEW, features=features, metrics=tmp_path / "nearest.json", **files)
