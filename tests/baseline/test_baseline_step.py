import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dsnet import schemas
from dsnet.baseline.step import as_predictions, grade
from dsnet.config.evaluate import Baseline, Evaluate
from dsnet.evaluate.calibration import CALIBRATION
from dsnet.evaluate.grading import GRADES
from dsnet.files import sha256
from dsnet.schemas import BOX, CLASSES
from dsnet.step import run

METHODS = ("thresholds", "balanced", "multinomial")
FEW = Evaluate(bootstrap=100, permutations=100)
# What the ellipses of the fixture hold: 500, 300 and 150 HU.
THEIRS = Baseline(normal_hu=400, balanced_hu=225, osteoporosis_hu=200)


def outputs(folder: Path) -> dict[str, Path]:
    return {
        "features": folder / "features.csv",
        "model": folder / "model.json",
        "metrics": folder / "metrics",
    }


def read(path: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return made


@pytest.fixture(scope="module")
def graded(ellipses: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = outputs(tmp_path_factory.mktemp("graded"))
    sections = {"params": THEIRS.model_dump_json(), "evaluation": FEW.model_dump_json()}
    named = {**sections, **ellipses.paths(), **made}
    run(grade, argv=[word for name, value in named.items() for word in (f"--{name}", str(value))])
    return made


def test_features_of_every_annotated_box(graded: dict[str, Path], ellipses: Any) -> None:
    features = schemas.read(schemas.FEATURES, graded["features"])
    boxes = schemas.read(schemas.SLICES, ellipses.boxes)
    assert features["image_key"].tolist() == boxes["image_key"].tolist()
    hu = {"normal": 500, "osteopenia": 300, "osteoporosis": 150}
    assert features["core_mean_hu"].tolist() == pytest.approx(
        features["label"].map(hu).tolist(), abs=15
    )
    assert features["core_sd_hu"].tolist() == pytest.approx([30] * len(features), abs=8)


def test_metrics_have_a_detectors_form_without_localisation(
    graded: dict[str, Path], ellipses: Any
) -> None:
    names = {
        f"{unit}_{name}"
        for unit in ("localised", "level", "patient")
        for name in (*GRADES, *CALIBRATION)
    }
    names |= {"level_answered", "patient_answered"}
    for method in METHODS:
        made = read(graded["metrics"] / f"{method}.json")
        assert (made["cohort"], made["synthetic"], made["leaky"]) == ("ellipses", True, False)
        assert made["slices_sha256"] == sha256(ellipses.digest)
        assert made["seeds"] == []
        assert made["counts"]["patients"] == 3
        assert names == set(made["metrics"]) == set(made["definitions"])
        assert set(made["sample_size"]["precision"]) <= names
        for each in made["metrics"].values():
            assert set(each) == {"value", "low", "high", "method", "seed_sd", "by_seed"}
    for method in ("thresholds", "multinomial"):
        values = read(graded["metrics"] / f"{method}.json")["metrics"]
        assert values["patient_accuracy"]["value"] == values["localised_macro_auc"]["value"] == 1
    balanced = read(graded["metrics"] / "balanced.json")["metrics"]
    assert balanced["localised_sensitivity_osteoporosis"]["value"] == 1
    assert balanced["localised_specificity_osteoporosis"]["value"] == 1
    assert balanced["localised_accuracy"]["value"] == pytest.approx(2 / 3)


def test_the_model_file_counts_what_was_measured(graded: dict[str, Path]) -> None:
    made = read(graded["model"])
    assert made["vertebrae"] == {
        "train": {"box": "annotated", "annotated": 9, "measured": 9},
        "validation": {"box": "annotated", "annotated": 3, "measured": 3},
        "test": {"box": "annotated", "annotated": 6, "measured": 6},
    }
    assert len(made["multinomial"]["weights"]) == len(CLASSES)


def test_a_second_run_writes_the_same_bytes(
    graded: dict[str, Path], ellipses: Any, tmp_path: Path
) -> None:
    again = outputs(tmp_path)
    grade(params=THEIRS, evaluation=FEW, **ellipses.paths(), **again)
    for name in ("features", "model"):
        assert again[name].read_bytes() == graded[name].read_bytes()
    for path in again["metrics"].iterdir():
        assert path.read_bytes() == (graded["metrics"] / path.name).read_bytes()


def test_a_box_that_the_detector_missed_is_counted_as_missed(ellipses: Any, tmp_path: Path) -> None:
    boxes = schemas.read(schemas.SLICES, ellipses.boxes)
    subset = schemas.read(schemas.SPLIT, ellipses.split).set_index("image_key")["subset"]
    test = boxes[boxes["image_key"].map(subset) == "test"].iloc[1:].assign(p_background=0.1)
    predictions = as_predictions(test, np.full((len(test), 3), 1 / 3))
    schemas.write(schemas.PREDICTIONS, predictions, tmp_path / "test.parquet")
    made = outputs(tmp_path)
    paths = ellipses.paths() | made | {"detections": tmp_path / "test.parquet"}
    grade(params=THEIRS, evaluation=FEW, **paths)
    assert read(made["model"])["vertebrae"]["test"] == {
        "box": "detected",
        "annotated": 6,
        "measured": 5,
    }
    features = schemas.read(schemas.FEATURES, made["features"])
    assert features["core_mean_hu"].isna().sum() == 1
    metrics = read(made["metrics"] / "thresholds.json")["metrics"]
    assert metrics["box_recall"]["value"] == pytest.approx(5 / 6)
    assert metrics["recall"]["value"] == pytest.approx(5 / 6)
    assert metrics["localised_accuracy"]["value"] == 1


def test_predictions_keep_the_background_and_the_shares() -> None:
    box = dict(zip(BOX, (1.0, 2.0, 3.0, 4.0), strict=True))
    measured = pd.DataFrame([{"image_key": f"I-{0:016x}", **box, "p_background": 0.2}] * 2)
    made = as_predictions(measured, np.array([[0.75, 0.25, 0], [0.75, 0.25, 0]]))
    assert made["label"].tolist() == ["normal", "osteopenia"]
    assert made["score"].tolist() == pytest.approx([0.6, 0.2])
    probabilities = made[["p_background", *(f"p_{name}" for name in CLASSES)]]
    assert probabilities.sum(axis=1).tolist() == pytest.approx([1, 1])
