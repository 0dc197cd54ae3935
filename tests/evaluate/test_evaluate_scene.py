from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.random_scenes import make_scene, random_scene, scenes, to_tables, with_box_each
from torchvision.ops import batched_nms, box_iou

from dsnet import schemas
from dsnet.config.evaluate import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate import scene as under_test
from dsnet.evaluate.scene import (
    Floats,
    Integers,
    Scene,
    iou,
    match,
    rank_in_group,
    read_scenes,
    suppress,
)
from dsnet.evaluate.step import metrics_of

HERE = [0, 0, 10, 10]
FEW = Evaluate(bootstrap=100, permutations=100)


@settings(deadline=None, max_examples=20)
@given(scenes(), st.integers(0, 1000))
def test_tables_round_trip_in_any_row_order(scene: Scene, seed: int) -> None:
    scene = with_box_each(scene, seed)
    tables = to_tables(scene)
    shuffled = under_test.scene(*(table.sample(frac=1, random_state=seed) for table in tables))
    for name in ("image", "box", "label", "score", "probability"):
        np.testing.assert_array_equal(
            getattr(shuffled.detections, name), getattr(scene.detections, name)
        )
    np.testing.assert_array_equal(shuffled.truth.label, scene.truth.label)
    np.testing.assert_array_equal(shuffled.truth.box, scene.truth.box)
    np.testing.assert_array_equal(shuffled.patient, scene.patient)
    np.testing.assert_array_equal(shuffled.row, scene.row)


def test_no_number_depends_on_the_keys() -> None:
    scene = with_box_each(random_scene(seed=5, images=9, most_detections=10), seed=5)
    tables = to_tables(scene)
    renamed = tuple(
        table.assign(
            **{
                name: [key[:2] + key[:1:-1] for key in table[name]]
                for name in ("image_key", "patient_key")
                if name in table
            }
        )
        for table in tables
    )
    scenes = (under_test.scene(*each) for each in (tables, renamed))
    first, second = (metrics_of([each], [0], FEW) for each in scenes)
    first["patients"], second["patients"] = (
        list(each["patients"].values()) for each in (first, second)
    )
    assert first == second


def test_objects_keep_each_detection_once_by_the_box_of_its_likelier_class() -> None:
    near, far = [1, 0, 11, 10], [30, 30, 40, 40]
    scene = make_scene(
        [0],
        [],
        [
            (0, near, 0, [0.1, 0.2, 0.4, 0.3]),
            (0, HERE, 1, [0.1, 0.2, 0.4, 0.3]),
            (0, near, 2, [0.2, 0.0, 0.0, 0.8]),
            (0, far, 2, [0.5, 0.3, 0.1, 0.1]),
        ],
    )
    objects = scene.objects
    assert objects.box.tolist() == [HERE, far]
    assert objects.score.tolist() == [0.9, 0.5]
    assert objects.label.tolist() == [1, 0]


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Any]:
    """Two images in the test subset and one in training, on disk."""
    scene = make_scene(
        [0, 1, 2],
        [(image, HERE, image, 0) for image in range(3)],
        [(image, HERE, image, [0.1, 0.3, 0.3, 0.3]) for image in range(3)],
    )
    predictions, boxes, split = to_tables(scene)
    split.loc[1, "subset"] = "train"
    paths = {
        "files": [tmp_path / "test.parquet"],
        "boxes": tmp_path / "slices.csv",
        "split": tmp_path / "split.csv",
    }
    schemas.write(schemas.PREDICTIONS, predictions, paths["files"][0])
    schemas.write(schemas.SLICES, boxes, paths["boxes"])
    schemas.write(schemas.SPLIT, split, paths["split"])
    return paths


def test_only_the_subset_is_read(tables: dict[str, Any]) -> None:
    (scene,) = read_scenes(**tables, subset="test")
    assert scene.patient.tolist() == [0, 1]
    assert scene.truth.label.ravel().tolist() == [0, 2]
    assert scene.detections.label.tolist() == [0, 2]


def test_subset_without_images(tables: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"split\.csv: expected images in the subset 'validation'"):
        read_scenes(**tables, subset="validation")


def test_predictions_of_another_cohort(tables: dict[str, Any]) -> None:
    split = pd.read_csv(tables["split"]).iloc[:2]
    schemas.write(schemas.SPLIT, split, tables["split"])
    with pytest.raises(UserError, match=r"test\.parquet row 4: expected an image that"):
        read_scenes(**tables, subset="test")


def test_split_of_another_store(tables: dict[str, Any]) -> None:
    boxes = schemas.read(schemas.SLICES, tables["boxes"]).iloc[:2]
    schemas.write(schemas.SLICES, boxes, tables["boxes"])
    with pytest.raises(UserError, match=r"split\.csv row 4: expected an image that slices\.csv"):
        read_scenes(**tables, subset="test")


QUICK = settings(deadline=None, max_examples=50)


def some_boxes(count: int) -> st.SearchStrategy[Floats]:
    corner = arrays.arrays(np.float64, (count, 4), elements=st.integers(0, 20))
    return corner.map(lambda c: np.concatenate([c[:, :2], c[:, :2] + c[:, 2:]], axis=1))


@QUICK
@given(some_boxes(6), some_boxes(5))
def test_iou_equals_torchvision_and_is_symmetric(one: Floats, other: Floats) -> None:
    ours = iou(one[:, None], other)
    theirs = box_iou(torch.from_numpy(one), torch.from_numpy(other)).nan_to_num().numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_array_equal(ours.T, iou(other[:, None], one))
    assert (ours >= 0).all()
    assert (ours <= 1).all()


def test_iou_by_hand() -> None:
    assert iou(np.array([0.0, 0, 2, 2]), np.array([1.0, 0, 3, 2])) == 1 / 3
    assert iou(np.zeros(4), np.zeros(4)) == 0


def test_best_score_takes_first_and_the_best_overlap() -> None:
    overlap = np.array([[0.6, 0.8], [0.7, 0.9], [0.55, 0.2]])
    slot = match(overlap, np.array([0, 0, 0]), np.array([0.5, 0.75]))
    # At 0.5 the second detection's best overlap is taken, so it takes the other; none is left.
    np.testing.assert_array_equal(slot, [[1, 0, -1], [1, -1, -1]])


def test_overlap_at_the_threshold_counts_and_equals_go_to_the_last() -> None:
    slot = match(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 1]), np.array([0.5, 1.0]))
    np.testing.assert_array_equal(slot, [[1, 0], [-1, 0]])


def test_groups_do_not_compete() -> None:
    slot = match(np.full((4, 1), 0.9), np.array([3, 1, 3, 1]), np.array([0.5]))
    np.testing.assert_array_equal(slot, [[0, 0, -1, -1]])


def test_nothing_to_match() -> None:
    assert match(np.empty((0, 2)), np.empty(0, dtype=int), np.array([0.5])).shape == (1, 0)
    assert match(np.full((2, 1), -1.0), np.array([0, 0]), np.array([0.5])).tolist() == [[-1, -1]]


@QUICK
@given(arrays.arrays(np.int64, st.integers(0, 12), elements=st.integers(0, 3)))
def test_rank_counts_within_the_group(group: Integers) -> None:
    literal = [list(group[:row]).count(value) for row, value in enumerate(group)]
    assert rank_in_group(group).tolist() == literal


@QUICK
@given(some_boxes(12), st.integers(0, 11))
def test_suppress_equals_torchvision(box: Floats, cut: int) -> None:
    group = (np.arange(12) >= cut).astype(np.int64)
    falling = torch.arange(12, 0, -1, dtype=torch.float64)
    kept = batched_nms(torch.from_numpy(box), falling, torch.from_numpy(group), 0.5)
    assert np.flatnonzero(suppress(box, group, 0.5)).tolist() == sorted(kept.tolist())
