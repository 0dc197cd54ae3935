"""Two results folders side by side."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dsnet import schemas
from dsnet.cli import app
from dsnet.config.evaluate import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate.step import evaluate
from dsnet.files import sha256
from dsnet.use.runs import compare_results

RUN = "resnet50/none/seed0"


def write_results(folder: Path, ellipses: Any, *, label: str, epochs: int) -> Path:
    """Write a training and its evaluation, all boxes found and graded `label`."""
    cohort = folder / "cohort"
    cohort.mkdir(parents=True)
    for name, path in asdict(ellipses).items():
        target = {"digest": "slices.json", "store": "slices.npy", "boxes": "slices.csv"}
        (cohort / target.get(name, "split.csv")).write_bytes(path.read_bytes())
    boxes = schemas.read(schemas.SLICES, ellipses.boxes)
    split = schemas.read(schemas.SPLIT, ellipses.split)
    test = boxes[boxes["image_key"].isin(split.loc[split["subset"] == "test", "image_key"])]
    found = test[["image_key", *schemas.BOX]].assign(
        label=label,
        score=0.9,
        p_background=0.1,
        **{f"p_{name}": 0.9 * (name == label) for name in schemas.CLASSES},
    )
    predictions = folder / "predictions" / RUN
    schemas.write(schemas.PREDICTIONS, found.reset_index(drop=True), predictions / "test.parquet")
    evaluate(
        predictions=predictions.parent,
        seeds=[0],
        boxes=cohort / "slices.csv",
        split=cohort / "split.csv",
        digest=cohort / "slices.json",
        metrics=folder / "metrics" / "resnet50" / "none.json",
        params=Evaluate(bootstrap=100, permutations=100),
    )
    manifest = folder / "models" / RUN / "manifest.json"
    manifest.parent.mkdir(parents=True)
    settings = {"train": {"epochs": epochs, "momentum": 0.9}, "seed": 0}
    data = {"digest_sha256": sha256(cohort / "slices.json")}
    manifest.write_text(
        json.dumps({"settings": settings, "data": data, "machine": {}, "result": {}})
    )
    return folder


def test_settings_metrics_and_grades_that_differ(ellipses: Any, tmp_path: Path) -> None:
    a = write_results(tmp_path / "a", ellipses, label="normal", epochs=3)
    b = write_results(tmp_path / "b", ellipses, label="osteoporosis", epochs=5)
    found = compare_results(a, b)
    assert found.settings.to_dict("records") == [
        {"run": RUN, "key": "train.epochs", "a": "3", "b": "5"}
    ]
    metrics = found.metrics.set_index("statistic")
    assert metrics.loc["box_ap50", ["a", "b"]].tolist() == [1.0, 1.0]
    # Three test patients, one of each class.
    assert metrics.loc["patient_accuracy", ["a", "b"]].tolist() == pytest.approx([1 / 3] * 2)
    assert found.shared_patients == {RUN: 3}
    assert set(found.grades["a"]) == {"normal"}
    assert set(found.grades["b"]) == {"osteoporosis"}
    assert sorted(found.grades["truth"]) == ["normal", "osteopenia", "osteoporosis"]
    printed = CliRunner().invoke(app, ["compare", str(a), str(b)])
    assert printed.exit_code == 0, printed.output
    assert "train.epochs,3,5" in printed.output
    assert compare_results(a, a).grades.empty


def test_results_without_a_common_training_are_refused(ellipses: Any, tmp_path: Path) -> None:
    a = write_results(tmp_path / "a", ellipses, label="normal", epochs=3)
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match="a training that"):
        compare_results(a, tmp_path / "b")
