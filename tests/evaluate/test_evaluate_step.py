import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_scenes import make_scene, scenes, to_tables, with_box_each

from dsnet import schemas
from dsnet.config.evaluate import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate.metrics import DEFINITIONS
from dsnet.evaluate.scene import Scene
from dsnet.evaluate.step import (
    evaluate,
    metrics_of,
)
from dsnet.files import sha256
from dsnet.step import run

HERE, THERE, AWAY = [0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]
FEW = Evaluate(bootstrap=100, permutations=100)


@settings(deadline=None, max_examples=20)
@given(scenes(), st.integers(0, 1000))
def test_json_holds_no_nan_and_bounds_enclose(scene: Scene, seed: int) -> None:
    scene = with_box_each(scene, seed)
    made = metrics_of([scene, scene], [0, 1], FEW)
    json.dumps(made, allow_nan=False)
    assert list(made["metrics"]) == list(DEFINITIONS) == list(made["definitions"])
    for each in made["metrics"].values():
        assert each["low"] is None or each["low"] < each["high"]
        assert each["method"] in made["interval"]["methods"]
    for name in ("localised_ece", "patient_ece_debiased"):
        assert made["metrics"][name]["low"] is None


def test_counts() -> None:
    scene = make_scene([0, 0, 1], [(0, HERE, 0, 0), (1, HERE, 0, 1), (2, HERE, 2, 0)], [])
    counts = metrics_of([scene], [0], FEW)["counts"]
    assert counts == {
        "patients": 2,
        "images": 3,
        "boxes": 3,
        "detections": [0],
        "boxes_by_class": {"normal": 2, "osteopenia": 0, "osteoporosis": 1},
        "patients_by_class": {"normal": 1, "osteopenia": 0, "osteoporosis": 1},
    }


def test_patients_add_up_to_the_statistics() -> None:
    scene = make_scene([0, 1], [(0, HERE, 0, 0), (1, HERE, 1, 0)], [(0, HERE, 0, [0.1, 0.9, 0, 0])])
    made = metrics_of([scene], [0], FEW)
    assert list(made["patients"].values()) == [
        {"tp": 1, "fp": 0, "fn": 0},
        {"tp": 0, "fp": 0, "fn": 1},
    ]
    recall = made["metrics"]["recall"]
    assert recall["value"] == 0.5
    # One of two patients: 1 - 0.975 ** 0.5 and its counterpart.
    exact = (1 - 0.975**0.5, 0.975**0.5)
    assert (recall["low"], recall["high"]) == pytest.approx(exact, abs=1e-7)


def test_confusion_matrices_account_for_all_boxes_levels_and_patients() -> None:
    scene = make_scene(
        [0, 0, 1],
        [(0, HERE, 1, 0), (1, HERE, 1, 0), (1, AWAY, 1, 1), (2, HERE, 2, 0)],
        [
            (0, HERE, 1, [0.1, 0.1, 0.8, 0]),
            (1, HERE, 2, [0.1, 0.1, 0.2, 0.6]),
            (0, AWAY, 0, [0.2, 0.8, 0, 0]),
        ],
    )
    made = metrics_of([scene], [0], FEW)["confusion"]
    assert made["box"] == {
        "rows": ["normal", "osteopenia", "osteoporosis", "false box"],
        "columns": ["normal", "osteopenia", "osteoporosis", "missed"],
        "counts": [[0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1], [1, 0, 0, 0]],
    }
    assert made["level"]["counts"] == [[0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]]
    # The false box pulls the first patient to normal.
    assert made["patient"]["counts"] == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert made["patient"]["columns"][-1] == "missed"


def test_the_seeds_are_averaged() -> None:
    truths = [(0, HERE, 0, 0), (1, HERE, 1, 0)]
    first, second = ((n, HERE, n, [0, n == 0, n == 1, 0]) for n in (0, 1))
    seeds = [make_scene([0, 1], truths, rows) for rows in ([first], [first, second])]
    made = metrics_of(seeds, [3, 5], FEW)
    assert made["seeds"] == [3, 5]
    recall = made["metrics"]["recall"]
    assert recall["by_seed"] == [0.5, 1.0]
    assert recall["value"] == 0.75
    assert made["counts"]["detections"] == [1, 2]
    assert made["interval"]["scope"] == "patients and trainings (2 seeds)"
    one = metrics_of(seeds[:1], [3], FEW)
    assert "this one training" in one["interval"]["scope"]
    assert recall["high"] - recall["low"] > one["metrics"]["recall"]["high"] - 0.5


def test_each_patient_is_scaled_by_the_temperature_of_the_others() -> None:
    label = [0, 1, 2] * 3
    sure = np.eye(4)[1:] * 0.9 + 0.025
    # The first of each class is taken for the next class, all others are right.
    rows = [(n, HERE, k, sure[(k + 1) % 3 if n < 3 else k]) for n, k in enumerate(label)]
    truths = [(image, HERE, k, 0) for image, k in enumerate(label)]
    made = metrics_of([make_scene(list(range(9)), truths, rows)], [0], FEW)
    scaling = made["calibration"]
    # The odds of 37 to 1 become those of 4 to 1 (6 of 9 right, half a wrong class each).
    logit = np.log(0.925 / 0.025)
    assert scaling["temperature"] == pytest.approx(logit / np.log(4), abs=1e-4)
    assert scaling["boxes_by_seed"] == [9]
    assert scaling["before"]["ece"]["value"] == pytest.approx(0.925 / 0.975 - 6 / 9, abs=1e-4)
    # Of the 8 others, 6 are right where the patient is wrong, and 5 where it is right.
    odds = np.array([6, 5]) / np.array([1, 1.5])
    confidence = odds / (odds + 2)
    curve = made["curves"]["calibration"]["after"]
    assert sum(curve["count"]) == 9
    assert curve["count"][7] == 3
    assert curve["confidence"][7] == pytest.approx(confidence[0], abs=1e-4)
    assert curve["accuracy"][7] == 0
    assert curve["confidence"][6] == pytest.approx(confidence[1], abs=1e-4)
    assert curve["accuracy"][6] == 1


def test_without_a_temperature_the_file_holds_null() -> None:
    scene = make_scene([0], [(0, HERE, 0, 0)], [])
    made = metrics_of([scene], [0], FEW)
    assert made["calibration"]["temperature"] is None
    assert made["calibration"]["after"]["ece_debiased"]["value"] is None
    assert made["curves"]["calibration"]["after"] is None


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two seeds of a detector that is right on twelve test patients; three are not test."""
    label = [0, 1, 2] * 5
    scene = make_scene(
        list(range(15)),
        [(image, HERE, k, 0) for image, k in enumerate(label)],
        [(image, HERE, k, [0, k == 0, k == 1, k == 2]) for image, k in enumerate(label)],
    )
    predictions, boxes, split = to_tables(scene)
    split.loc[12:, "subset"] = "validation"
    for seed in (0, 1):
        path = tmp_path / "none" / f"seed{seed}" / "test.parquet"
        schemas.write(schemas.PREDICTIONS, predictions, path)
    schemas.write(schemas.SLICES, boxes, tmp_path / "slices.csv")
    schemas.write(schemas.SPLIT, split, tmp_path / "split.csv")
    (tmp_path / "slices.json").write_text('{"cohort": "made up", "synthetic": true}')
    names = {"boxes": "slices.csv", "split": "split.csv", "digest": "slices.json"}
    made = {"predictions": "none", "metrics": "out/metrics.json", **names}
    return {flag: tmp_path / name for flag, name in made.items()}


def test_step_writes_the_metrics(files: dict[str, Path]) -> None:
    words = [word for flag, path in files.items() for word in (f"--{flag}", str(path))]
    seeds = ["--seeds", "0", "--seeds", "1"]
    run(evaluate, argv=["--params", FEW.model_dump_json(), *seeds, *words])
    made = json.loads(files["metrics"].read_text())
    assert made["cohort"] == "made up"
    assert made["synthetic"] is True
    assert made["leaky"] is False
    assert made["slices_sha256"] == sha256(files["digest"])
    assert made["metrics"]["map"]["value"] == pytest.approx(1)
    assert made["metrics"]["map"]["seed_sd"] == 0
    assert made["chance"]["above_chance"] is True
    assert made["counts"]["patients"] == 12


def test_missing_seed(files: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"seed4.*no file"):
        evaluate(params=FEW, seeds=[4], **files)
