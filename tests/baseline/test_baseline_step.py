import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dsnet import schemas
from dsnet.baseline.detections import as_detections
from dsnet.baseline.step import grade_annotated, grade_detected
from dsnet.config.evaluate import Baseline, Evaluate
from dsnet.evaluate.grading import GRADES
from dsnet.schemas import BOX, CLASSES
from dsnet.step import run

METHODS = ("thresholds", "balanced", "multinomial", "nearest")
FEW = Evaluate(bootstrap=100, permutations=100)
# What the ellipses of the fixture hold: 500, 300 and 150 HU.
THEIRS = Baseline(normal_hu=400, balanced_hu=225, osteoporosis_hu=200)


def outputs(folder: Path) -> dict[str, Path]:
    return {
        "features": folder / "features.csv",
        "model": folder / "model.json",
        "metrics": folder / "metrics",
    }


def words(**arguments: object) -> list[str]:
    return [word for name, value in arguments.items() for word in (f"--{name}", str(value))]


def read(path: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return made


@pytest.fixture(scope="module")
def graded(ellipses: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = outputs(tmp_path_factory.mktemp("graded"))
    params = {"params": THEIRS.model_dump_json(), "judging": FEW.model_dump_json()}
    run(grade_annotated, words(**params, **ellipses.paths(), **made))
    return made


def test_features_of_every_annotated_box(graded: dict[str, Path], ellipses: Any) -> None:
    features = schemas.read(schemas.FEATURES, graded["features"])
    drawn = schemas.read(schemas.SLICES, ellipses.boxes)
    assert features["image_key"].tolist() == drawn["image_key"].tolist()
    hu = {"normal": 500, "osteopenia": 300, "osteoporosis": 150}
    assert features["core_mean_hu"].tolist() == pytest.approx(
        features["label"].map(hu).tolist(), abs=15
    )
    assert features["core_sd_hu"].tolist() == pytest.approx([30] * len(features), abs=8)


def test_metrics_have_a_detectors_form_without_what_finding_means(
    graded: dict[str, Path],
) -> None:
    names = {f"{unit}_{name}" for unit in ("found", "level", "patient") for name in GRADES}
    names |= {"level_answered", "patient_answered"}
    for method in METHODS:
        told = read(graded["metrics"] / f"{method}.json")
        assert (told["cohort"], told["synthetic"], told["leaky"]) == ("ellipses", True, False)
        assert told["seeds"] == []
        assert told["counts"]["patients"] == 3
        assert names == set(told["metrics"]) == set(told["definitions"])
        for each in told["metrics"].values():
            assert set(each) == {"value", "low", "high", "seed_sd", "by_seed"}
    for method in ("thresholds", "multinomial", "nearest"):
        found = read(graded["metrics"] / f"{method}.json")["metrics"]
        assert found["patient_accuracy"]["value"] == found["found_macro_auc"]["value"] == 1
    balanced = read(graded["metrics"] / "balanced.json")["metrics"]
    assert balanced["found_sensitivity_osteoporosis"]["value"] == 1
    assert balanced["found_specificity_osteoporosis"]["value"] == 1
    assert balanced["found_accuracy"]["value"] == pytest.approx(2 / 3)


def test_the_model_file_counts_what_was_measured(graded: dict[str, Path]) -> None:
    told = read(graded["model"])
    assert told["vertebrae"] == {
        "train": {"box": "annotated", "annotated": 9, "measured": 9},
        "validation": {"box": "annotated", "annotated": 3, "measured": 3},
        "test": {"box": "annotated", "annotated": 6, "measured": 6},
    }
    assert len(told["multinomial"]["weights"]) == len(CLASSES)


def test_a_second_run_writes_the_same_bytes(
    graded: dict[str, Path], ellipses: Any, tmp_path: Path
) -> None:
    again = outputs(tmp_path)
    grade_annotated(params=THEIRS, judging=FEW, **ellipses.paths(), **again)
    for name in ("features", "model"):
        assert again[name].read_bytes() == graded[name].read_bytes()
    for path in again["metrics"].iterdir():
        assert path.read_bytes() == (graded["metrics"] / path.name).read_bytes()


def test_what_the_detector_missed_is_counted_as_missed(ellipses: Any, tmp_path: Path) -> None:
    drawn = schemas.read(schemas.SLICES, ellipses.boxes)
    parts = schemas.read(schemas.SPLIT, ellipses.split).set_index("image_key")["subset"]
    test = drawn[drawn["image_key"].map(parts) == "test"].iloc[1:].assign(p_background=0.1)
    found = as_detections(test, np.full((len(test), 3), 1 / 3))
    schemas.write(schemas.PREDICTIONS, found, tmp_path / "found.parquet")
    made = outputs(tmp_path)
    params = {"params": THEIRS.model_dump_json(), "judging": FEW.model_dump_json()}
    paths = ellipses.paths() | made | {"detections": tmp_path / "found.parquet"}
    run(grade_detected, words(**params, **paths))
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
    assert metrics["found_accuracy"]["value"] == 1


def test_detections_keep_the_doubt_and_the_shares() -> None:
    box = dict(zip(BOX, (1.0, 2.0, 3.0, 4.0), strict=True))
    measured = pd.DataFrame([{"image_key": f"I-{0:016x}", **box, "p_background": 0.2}] * 2)
    found = as_detections(measured, np.array([[0.75, 0.25, 0], [0.75, 0.25, 0]]))
    assert found["label"].tolist() == ["normal", "osteopenia"]
    assert found["score"].tolist() == pytest.approx([0.6, 0.2])
    chances = found[["p_background", *(f"p_{name}" for name in CLASSES)]]
    assert chances.sum(axis=1).tolist() == pytest.approx([1, 1])
