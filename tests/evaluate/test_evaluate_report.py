import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_scenes import make_scene, scenes, to_tables, with_box_each

from dsnet import contract
from dsnet.config import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate.metrics import DEFINITIONS
from dsnet.evaluate.report import evaluate, read_about, report
from dsnet.evaluate.scene import Scene
from dsnet.step import run

HERE = [0, 0, 10, 10]
FEW = Evaluate(bootstrap=100, permutations=100)


@settings(deadline=None, max_examples=20)
@given(scenes(), st.integers(0, 1000))
def test_json_holds_no_nan_and_bounds_enclose(scene: Scene, seed: int) -> None:
    made = report(with_box_each(scene, seed), "test", FEW)
    json.dumps(made, allow_nan=False)
    assert list(made["metrics"]) == list(DEFINITIONS) == list(made["definitions"])
    for each in made["metrics"].values():
        assert each["low"] is None or each["low"] <= each["high"]


def test_counts() -> None:
    scene = make_scene([0, 0, 1], [(0, HERE, 0, 0), (1, HERE, 0, 1), (2, HERE, 2, 0)], [])
    counts = report(scene, "test", FEW)["counts"]
    assert counts == {
        "patients": 2,
        "images": 3,
        "boxes": 3,
        "detections": 0,
        "boxes_by_class": {"normal": 2, "osteopenia": 0, "osteoporosis": 1},
        "patients_by_class": {"normal": 1, "osteopenia": 0, "osteoporosis": 1},
    }


def test_patients_add_up_to_the_statistics() -> None:
    scene = make_scene([0, 1], [(0, HERE, 0, 0), (1, HERE, 1, 0)], [(0, HERE, 0, [0.1, 0.9, 0, 0])])
    made = report(scene, "test", FEW)
    assert list(made["patients"].values()) == [
        {"tp": 1, "fp": 0, "fn": 0},
        {"tp": 0, "fp": 0, "fn": 1},
    ]
    assert made["metrics"]["recall"] == {"value": 0.5, "low": 0.0, "high": 1.0}


def test_step_writes_the_metrics(tmp_path: Path) -> None:
    label = [0, 1, 2] * 4
    scene = make_scene(
        list(range(12)),
        [(image, HERE, k, 0) for image, k in enumerate(label)],
        [(image, HERE, k, [0, k == 0, k == 1, k == 2]) for image, k in enumerate(label)],
    )
    detected, drawn, parts = to_tables(scene)
    contract.write(contract.PREDICTIONS, detected, tmp_path / "predictions.parquet")
    contract.write(contract.SLICES, drawn, tmp_path / "slices.csv")
    contract.write(contract.SPLIT, parts, tmp_path / "split.csv")
    (tmp_path / "slices.json").write_text('{"cohort": "made up", "synthetic": true}')
    files = {
        "predictions": "predictions.parquet",
        "boxes": "slices.csv",
        "split": "split.csv",
        "digest": "slices.json",
        "metrics": "out/metrics.json",
    }
    words = [word for flag, name in files.items() for word in (f"--{flag}", str(tmp_path / name))]
    run(evaluate, ["--params", FEW.model_dump_json(), *words])
    made = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert made["cohort"] == "made up"
    assert made["synthetic"] is True
    assert made["metrics"]["map"]["value"] == pytest.approx(1)
    assert made["chance"]["above_chance"] is True


def test_missing_digest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"slices\.json: expected the digest"):
        read_about(tmp_path / "slices.json")
