from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_scenes import (
    once,
    random_scene,
    right_and_wrong,
    scenes,
    to_tables,
    with_box_each,
)

from dsnet import schemas
from dsnet.config.evaluate import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate.compare import (
    COLUMNS,
    compare,
    holm,
    joined,
    paired_differences,
    pairs,
    swaps,
)
from dsnet.evaluate.metrics import comparison_statistics
from dsnet.evaluate.scene import Detections, Floats, Scene, best_first

FEW = Evaluate(bootstrap=100, permutations=400)


def test_pairs_stay_within_a_backbone() -> None:
    variants = ["resnet50/none", "resnet50/ds", "vgg16/none", "vgg16/ds"]
    assert pairs(variants) == [("resnet50/ds", "resnet50/none"), ("vgg16/ds", "vgg16/none")]
    with pytest.raises(UserError, match=r"--variants: expected vgg16/none"):
        pairs(["resnet50/none", "vgg16/ds"])


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    scenes = dict(zip(("se", "none"), right_and_wrong(6), strict=True))
    for attention, scene in scenes.items():
        predictions, boxes, split = to_tables(scene)
        for seed in (0, 1):
            folder = tmp_path / "predictions" / "resnet50" / attention / f"seed{seed}"
            schemas.write(schemas.PREDICTIONS, predictions, folder / "test.parquet")
    schemas.write(schemas.SLICES, boxes, tmp_path / "slices.csv")
    schemas.write(schemas.SPLIT, split, tmp_path / "split.csv")
    (tmp_path / "slices.json").write_text('{"cohort": "made up", "synthetic": true}')
    names = {"boxes": "slices.csv", "split": "split.csv", "digest": "slices.json"}
    made = {"predictions": "predictions", "differences": "differences.csv", **names}
    return {flag: tmp_path / name for flag, name in made.items()}


def test_the_step_writes_percent_points(files: dict[str, Path]) -> None:
    compare(params=FEW, variants=["resnet50/none", "resnet50/se"], seeds=[0, 1], **files)
    table = pd.read_csv(files["differences"])
    assert tuple(table.columns) == COLUMNS
    row = table.set_index("statistic").loc["map"]
    assert (row["backbone"], row["attention"], row["seeds"]) == ("resnet50", "se", 2)
    assert (row["difference"], row["test_patients"]) == (100, 6)
    assert row["p"] == row["p_holm"]
    assert "synthetic" in row["data"]


def test_missing_predictions_are_named(files: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"seed7.*no file"):
        compare(params=FEW, variants=["resnet50/none"], seeds=[7], **files)


FEW = Evaluate(bootstrap=100, permutations=400)
POINT = {"iou": 0.5, "score": 0.5, "rule": "mean_probability"}


def two(seed: int, images: int = 7) -> tuple[Scene, Scene]:
    """Return two detectors' detections on the same images; scores tie all the time."""
    one = with_box_each(random_scene(seed, images, 8), seed)
    detections = one.detections
    order = np.random.default_rng(seed).permutation(len(detections.image))
    other = replace(detections, box=detections.box[order], label=detections.label[order])
    return one, replace(one, detections=best_first(other))


def with_detections_of(scene: Scene, other: Scene, patients: Floats) -> Scene:
    """Return `scene` with the detections of `other` for the marked patients."""
    own, foreign = (
        each.detections.take(patients[scene.patient[each.detections.image]] == mark)
        for each, mark in ((scene, 0), (other, 1))
    )
    columns = zip(vars(own).values(), vars(foreign).values(), strict=True)
    return replace(scene, detections=best_first(Detections(*map(np.concatenate, columns))))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_a_swap_is_a_new_evaluation_with_the_other_ones_detections(seed: int) -> None:
    one, other = two(seed)
    swapped = swaps(len(one.patient_keys), 4, seed)
    weights = np.hstack([1 - swapped, swapped])
    at_once = comparison_statistics(joined(one, other), weights, **POINT)
    for row, marks in enumerate(swapped):
        mixed = with_detections_of(one, other, marks)
        single = comparison_statistics(mixed, once(mixed), **POINT)
        for name, value in single.items():
            np.testing.assert_allclose(at_once[name][row], value[0], atol=1e-9, err_msg=name)


@settings(deadline=None, max_examples=10)
@given(scenes(most_detections=6), st.integers(0, 1000))
def test_a_detector_does_not_differ_from_itself(scene: Scene, seed: int) -> None:
    scene = with_box_each(scene, seed)
    for values in paired_differences([scene, scene], [scene, scene], FEW).values():
        if values["value"] is not None:
            assert values["value"] == pytest.approx(0, abs=1e-12)
            assert values["p"] == 1


def test_the_difference_turns_its_sign_and_keeps_its_p() -> None:
    one, other = two(5)
    there = paired_differences([one], [other], FEW)
    back = paired_differences([other], [one], FEW)
    assert any(values["value"] for values in there.values())
    for name, values in there.items():
        if values["value"] is not None:
            assert values["value"] == pytest.approx(-back[name]["value"])
            assert values["p"] == back[name]["p"]


def test_three_patients_prove_nothing() -> None:
    # Of the 8 equally likely swaps, 2 differ as much.
    made = paired_differences(*([scene] for scene in right_and_wrong(3)), FEW)
    assert made["map"]["value"] == pytest.approx(1)
    assert 0.18 < made["map"]["p"] < 0.32


def test_twelve_patients_do() -> None:
    made = paired_differences(*([scene] for scene in right_and_wrong(12)), FEW)
    assert made["patient_accuracy"] == {"value": 1, "low": 1, "high": 1, "p": round(1 / 401, 8)}


def test_holm_by_hand() -> None:
    p = pd.Series([0.04, 0.01, np.nan, 0.03, 0.5])
    # 4 * 0.01, 3 * 0.03, then 2 * 0.04 is raised to 0.09.
    expected = pd.Series([0.09, 0.04, np.nan, 0.09, 0.5])
    pd.testing.assert_series_equal(holm(p), expected)
    assert holm(pd.Series([0.6, 0.9])).tolist() == [1, 1]
