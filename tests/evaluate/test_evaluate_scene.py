from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_scenes import make_scene, random_scene, scenes, to_tables, with_box_each

from dsnet import schemas
from dsnet.config.evaluate import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate import scene as under_test
from dsnet.evaluate.report import report
from dsnet.evaluate.scene import Scene, read_scenes

HERE = [0, 0, 10, 10]
FEW = Evaluate(bootstrap=100, permutations=100)


@settings(deadline=None, max_examples=20)
@given(scenes(), st.integers(0, 1000))
def test_tables_round_trip_in_any_row_order(scene: Scene, seed: int) -> None:
    scene = with_box_each(scene, seed)
    detected, drawn, parts = to_tables(scene)
    tables = (detected, drawn, parts)
    shuffled = under_test.scene(*(table.sample(frac=1, random_state=seed) for table in tables))
    for name in ("image", "box", "label", "score", "probability"):
        np.testing.assert_array_equal(
            getattr(shuffled.detections, name), getattr(scene.detections, name)
        )
    np.testing.assert_array_equal(shuffled.truth.label, scene.truth.label)
    np.testing.assert_array_equal(shuffled.truth.box, scene.truth.box)
    np.testing.assert_array_equal(shuffled.patient, scene.patient)
    np.testing.assert_array_equal(shuffled.row, scene.row)


def test_no_number_hangs_on_the_keys() -> None:
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
    first, second = (report([each], [each], [0], FEW) for each in scenes)
    first["patients"], second["patients"] = (
        list(each["patients"].values()) for each in (first, second)
    )
    assert first == second


def test_alone_keeps_each_object_once_by_the_box_of_its_likelier_class() -> None:
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
    alone = scene.alone
    assert alone.box.tolist() == [HERE, far]
    assert alone.score.tolist() == [0.9, 0.5]
    assert alone.label.tolist() == [1, 0]


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Any]:
    """Two images in the test part and one in training, on disk."""
    scene = make_scene(
        [0, 1, 2],
        [(image, HERE, image, 0) for image in range(3)],
        [(image, HERE, image, [0.1, 0.3, 0.3, 0.3]) for image in range(3)],
    )
    detected, drawn, parts = to_tables(scene)
    parts.loc[1, "subset"] = "train"
    paths = {
        "files": [tmp_path / "test.parquet"],
        "boxes": tmp_path / "slices.csv",
        "split": tmp_path / "split.csv",
    }
    schemas.write(schemas.PREDICTIONS, detected, paths["files"][0])
    schemas.write(schemas.SLICES, drawn, paths["boxes"])
    schemas.write(schemas.SPLIT, parts, paths["split"])
    return paths


def test_only_the_part_is_read(tables: dict[str, Any]) -> None:
    (scene,) = read_scenes(**tables, subset="test")
    assert scene.patient.tolist() == [0, 1]
    assert scene.truth.label.ravel().tolist() == [0, 2]
    assert scene.detections.label.tolist() == [0, 2]


def test_part_without_images(tables: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"split\.csv: expected images in the subset 'validation'"):
        read_scenes(**tables, subset="validation")


def test_predictions_of_another_cohort(tables: dict[str, Any]) -> None:
    parts = pd.read_csv(tables["split"]).iloc[:2]
    schemas.write(schemas.SPLIT, parts, tables["split"])
    with pytest.raises(UserError, match=r"test\.parquet row 4: expected an image that"):
        read_scenes(**tables, subset="test")


def test_split_of_another_store(tables: dict[str, Any]) -> None:
    drawn = schemas.read(schemas.SLICES, tables["boxes"]).iloc[:2]
    schemas.write(schemas.SLICES, drawn, tables["boxes"])
    with pytest.raises(UserError, match=r"split\.csv row 4: expected an image that slices\.csv"):
        read_scenes(**tables, subset="test")
