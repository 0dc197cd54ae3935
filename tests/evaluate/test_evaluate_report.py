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
from dsnet.evaluate.report import evaluate, report
from dsnet.evaluate.scene import Scene
from dsnet.step import run

HERE, AWAY = [0, 0, 10, 10], [50, 50, 60, 60]
FEW = Evaluate(bootstrap=100, permutations=100)


@settings(deadline=None, max_examples=20)
@given(scenes(), st.integers(0, 1000))
def test_json_holds_no_nan_and_bounds_enclose(scene: Scene, seed: int) -> None:
    scene = with_box_each(scene, seed)
    made = report([scene, scene], [scene, scene], [0, 1], FEW)
    json.dumps(made, allow_nan=False)
    assert list(made["metrics"]) == list(DEFINITIONS) == list(made["definitions"])
    for each in made["metrics"].values():
        assert each["low"] is None or each["low"] <= each["high"]


def test_counts() -> None:
    scene = make_scene([0, 0, 1], [(0, HERE, 0, 0), (1, HERE, 0, 1), (2, HERE, 2, 0)], [])
    counts = report([scene], [scene], [0], FEW)["counts"]
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
    made = report([scene], [scene], [0], FEW)
    assert list(made["patients"].values()) == [
        {"tp": 1, "fp": 0, "fn": 0},
        {"tp": 0, "fp": 0, "fn": 1},
    ]
    recall = made["metrics"]["recall"]
    assert (recall["value"], recall["low"], recall["high"]) == (0.5, 0.0, 1.0)


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
    made = report([scene], [scene], [0], FEW)["confusion"]
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
    right, wrong = ((n, HERE, n, [0, n == 0, n == 1, 0]) for n in (0, 1))
    seeds = [make_scene([0, 1], truths, found) for found in ([right], [right, wrong])]
    made = report(seeds, seeds, [3, 5], FEW)
    assert made["seeds"] == [3, 5]
    recall = made["metrics"]["recall"]
    assert recall["by_seed"] == [0.5, 1.0]
    assert recall["value"] == 0.75
    assert made["counts"]["detections"] == [1, 2]


def test_temperature_comes_from_the_validation_part_alone() -> None:
    label = [0, 1, 2, 0, 1, 2]
    truths = [(image, HERE, k, 0) for image, k in enumerate(label)]
    sure = np.eye(4)[1:] * 0.9 + 0.025
    right = make_scene(list(range(6)), truths, [(n, HERE, k, sure[k]) for n, k in enumerate(label)])
    # Two of six are wrong; the odds of 37 to 1 become those of 4 to 1, right against each wrong.
    mixed = make_scene(
        list(range(6)), truths, [(n, HERE, k, sure[k if n % 3 else 1]) for n, k in enumerate(label)]
    )
    made = report([right], [mixed], [0], FEW)["calibration"]
    assert made["temperature"] == pytest.approx(np.log(0.925 / 0.025) / np.log(4), abs=1e-4)
    assert made["validation_boxes_by_seed"] == [6]
    assert made["ece_before"]["value"] < made["ece_after"]["value"]  # the test part is all right
    assert report([right], [mixed], [0], FEW)["curves"]["calibration"]["after"]["count"][6] == 6


def test_without_a_temperature_the_report_says_null() -> None:
    scene = make_scene([0], [(0, HERE, 0, 0)], [])
    made = report([scene], [scene], [0], FEW)
    assert made["calibration"]["temperature"] is None
    assert made["calibration"]["ece_after"]["value"] is None
    assert made["curves"]["calibration"]["after"] is None


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two seeds of a detector that is right on twelve test patients; three for validation."""
    label = [0, 1, 2] * 5
    scene = make_scene(
        list(range(15)),
        [(image, HERE, k, 0) for image, k in enumerate(label)],
        [(image, HERE, k, [0, k == 0, k == 1, k == 2]) for image, k in enumerate(label)],
    )
    detected, drawn, parts = to_tables(scene)
    parts.loc[12:, "subset"] = "validation"
    for seed in (0, 1):
        for part in ("test", "validation"):
            path = tmp_path / "none" / f"seed{seed}" / f"{part}.parquet"
            schemas.write(schemas.PREDICTIONS, detected, path)
    schemas.write(schemas.SLICES, drawn, tmp_path / "slices.csv")
    schemas.write(schemas.SPLIT, parts, tmp_path / "split.csv")
    (tmp_path / "slices.json").write_text('{"cohort": "made up", "synthetic": true}')
    names = {"boxes": "slices.csv", "split": "split.csv", "digest": "slices.json"}
    made = {"predictions": "none", "metrics": "out/metrics.json", **names}
    return {flag: tmp_path / name for flag, name in made.items()}


def test_step_writes_the_metrics(files: dict[str, Path]) -> None:
    words = [word for flag, path in files.items() for word in (f"--{flag}", str(path))]
    run(evaluate, ["--params", FEW.model_dump_json(), "--seeds", "0,1", *words])
    made = json.loads(files["metrics"].read_text())
    assert made["cohort"] == "made up"
    assert made["synthetic"] is True
    assert made["leaky"] is False
    assert made["metrics"]["map"]["value"] == pytest.approx(1)
    assert made["metrics"]["map"]["seed_sd"] == 0
    assert made["chance"]["above_chance"] is True
    assert made["counts"]["patients"] == 12


def test_missing_seed(files: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"seed4.*no file"):
        evaluate(params=FEW, seeds="4", **files)
