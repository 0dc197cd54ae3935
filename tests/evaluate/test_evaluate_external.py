import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.random_scenes import make_scene, to_tables

from dsnet import schemas
from dsnet.config.evaluate import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate.calibration import calibration, scale
from dsnet.evaluate.external import evaluate_external
from dsnet.evaluate.grading import localised_boxes
from dsnet.evaluate.scene import Scene
from dsnet.evaluate.step import metrics_of
from dsnet.files import sha256, write_json

FEW = Evaluate(bootstrap=100, permutations=100, score=0.3)
HERE = [0, 0, 10, 10]
GRID = {"size_px": 64, "pixel_mm": 3.0}


def external_scene() -> Scene:
    """Return nine patients of whom three are graded wrong."""
    detections = []
    for image in range(9):
        label = (image % 3 + (image < 3)) % 3
        probability = [0.1, 0.15, 0.15, 0.15]
        probability[1 + label] = 0.6
        detections.append((image, HERE, label, probability))
    truths = [(image, HERE, image % 3, image % 4) for image in range(9)]
    return make_scene(list(range(9)), truths, detections)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Return the files of a training, of its internal metrics and of an external cohort."""
    predictions, boxes, split = to_tables(external_scene())
    schemas.write(schemas.PREDICTIONS, predictions, tmp_path / "predictions/seed3/test.parquet")
    schemas.write(schemas.SLICES, boxes, tmp_path / "slices.csv")
    schemas.write(schemas.SPLIT, split, tmp_path / "split.csv")
    write_json(tmp_path / "slices.json", {"cohort": "north", "synthetic": True, **GRID})
    manifest = {"data": {"digest_sha256": "a" * 64, **GRID}}
    write_json(tmp_path / "models/seed3/manifest.json", manifest)
    (tmp_path / "models/seed3/weights.pt").write_bytes(b"weights")
    internal = {
        "cohort": "home",
        "slices_sha256": "a" * 64,
        "seeds": [3],
        "thresholds": {"iou": 0.5, "score": 0.4, "patient_label": "majority"},
        "calibration": {"temperature_by_seed": [2.5]},
    }
    write_json(tmp_path / "internal.json", internal)
    return {
        "predictions": tmp_path / "predictions",
        "models": tmp_path / "models",
        "internal": tmp_path / "internal.json",
        "boxes": tmp_path / "slices.csv",
        "split": tmp_path / "split.csv",
        "digest": tmp_path / "slices.json",
        "metrics": tmp_path / "metrics.json",
    }


def test_everything_is_taken_from_the_internal_cohort(files: dict[str, Path]) -> None:
    evaluate_external(**files, params=FEW)
    made = json.loads(files["metrics"].read_text(encoding="utf-8"))
    assert made["external"] == {
        "internal_cohort": "home",
        "weights_sha256": [sha256(files["models"] / "seed3" / "weights.pt")],
        **GRID,
    }
    assert made["cohort"] == "north"
    assert made["thresholds"]["score"] == 0.4
    assert made["thresholds"]["patient_label"] == "majority"
    assert made["calibration"]["temperature_by_seed"] == [2.5]
    assert made["calibration"]["fitted_on"] == "the test subset of the internal cohort"
    assert made["counts"]["patients"] == 9


def test_the_internal_temperature_scales_every_box(files: dict[str, Path]) -> None:
    evaluate_external(**files, params=FEW)
    after = json.loads(files["metrics"].read_text(encoding="utf-8"))["calibration"]["after"]
    units = localised_boxes(external_scene(), iou=0.5, score=0.4)
    scaled = replace(units, probability=scale(units.probability, 2.5))
    expected = calibration(scaled, np.ones((1, 9)))["brier"][0]
    assert after["brier"]["value"] == pytest.approx(expected, abs=1e-7)
    own = metrics_of([external_scene()], [3], FEW)["calibration"]
    assert own["temperature"] != 2.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pixel_mm": 2.0}, "expected the grid of the training, 64 px of 2.0 mm"),
        ({"digest_sha256": "b" * 64}, "expected the training that the internal metrics are of"),
    ],
)
def test_another_grid_or_training_stops(
    files: dict[str, Path], change: dict[str, object], words: str
) -> None:
    manifest = {"data": {"digest_sha256": "a" * 64, **GRID, **change}}
    write_json(files["models"] / "seed3" / "manifest.json", manifest)
    with pytest.raises(UserError, match=words):
        evaluate_external(**files, params=FEW)
    assert not files["metrics"].exists()
