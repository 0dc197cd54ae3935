import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dsnet import schemas
from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.schemas import CLASSES
from dsnet.split.images import draw_images, images_of
from dsnet.split.leak import is_leaky, overlap
from dsnet.split.proof import check, prove
from dsnet.split.step import split_patients

COUNTS = st.tuples(*[st.integers(4, 9)] * 3)


def by_image(tables: Any, seed: int = 0) -> pd.DataFrame:
    split = draw_images(images_of(tables.boxes, tables.files), Split(unit="image", seed=seed))
    return schemas.SPLIT.validate(split)


@settings(deadline=None, max_examples=5)
@given(COUNTS, st.integers(0, 99))
def test_every_image_has_a_part_in_the_fractions_of_its_class_and_patients_overlap(
    make_tables: Callable[..., Any], counts: tuple[int, ...], seed: int
) -> None:
    tables = make_tables(counts, incomplete=1)
    split = by_image(tables, seed)
    assert sorted(split["image_key"]) == sorted(tables.boxes["image_key"])
    assert is_leaky(split)
    assert set(split["leaky"]) == {"LEAKY"}
    for name in CLASSES:
        mine = split[split["stratum"] == name]
        assert abs((mine["subset"] == "test").sum() - 0.2 * len(mine)) < 1
    test = split[split["subset"] == "test"]
    training = set(split.loc[split["subset"] == "train", "patient_key"])
    known = sum(patient in training for patient in test["patient_key"])
    assert overlap(split) == {
        "test_patients": test["patient_key"].nunique(),
        "test_patients_who_train": len(set(test["patient_key"]) & training),
        "test_images": len(test),
        "test_images_of_patients_who_train": known,
    }
    # Most of a patient's other images are in training.
    assert known > 0.5 * len(test)


def test_neither_row_order_nor_the_secret_key_moves_an_image(
    make_tables: Callable[..., Any],
) -> None:
    def test_part(tables: Any) -> set[str]:
        split = by_image(tables)
        images = split.loc[split["subset"] == "test", "image_key"]
        return set(tables.files.set_index("image_key").loc[images, "pixel_hash"])

    expected = test_part(make_tables((5, 6, 7)))
    other = make_tables((5, 6, 7), key="two")
    other.boxes = other.boxes.iloc[::-1].reset_index(drop=True)
    assert test_part(other) == expected


def test_the_proof_says_leaky_first_and_is_no_proof(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((5, 5, 5))
    split = by_image(tables)
    proof = prove(split, tables.boxes, tables.files, Split(unit="image"))
    assert next(iter(proof)) == "LEAKY"
    assert proof["unit"] == "image"
    assert proof["leak"] == overlap(split)
    assert proof["shared"]["patient"]["train-test"] == proof["leak"]["test_patients_who_train"] > 0
    assert proof["shared"]["sop_uid"] == dict.fromkeys(proof["shared"]["sop_uid"], 0)
    check(proof)
    unmarked = prove(split.drop(columns="leaky"), tables.boxes, tables.files, Split())
    with pytest.raises(UserError, match="expected no patient in both parts"):
        check(unmarked)


def test_the_step_marks_what_it_writes(tmp_path: Path, make_tables: Callable[..., Any]) -> None:
    tables = make_tables((5, 5, 5))
    schemas.write(schemas.LABELS, tables.boxes, tmp_path / "labels.csv")
    schemas.write(schemas.INDEX, tables.files, tmp_path / "index.parquet")
    split_patients(
        params=Split(unit="image"),
        labels=tmp_path / "labels.csv",
        index=tmp_path / "index.parquet",
        split=tmp_path / "split.csv",
        proof=tmp_path / "proof.json",
    )
    lines = (tmp_path / "split.csv").read_text().splitlines()
    assert all(line.startswith("LEAKY,I-") for line in lines[1:])
    assert is_leaky(schemas.read(schemas.SPLIT, tmp_path / "split.csv"))
    assert json.loads((tmp_path / "proof.json").read_text())["leak"]["test_images"] == 12


def test_a_split_that_would_not_leak_is_refused(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((5, 5, 5))
    split = by_image(tables).drop_duplicates("patient_key")
    with pytest.raises(UserError, match="patients with images in training and test"):
        overlap(split)


def test_an_imported_split_is_by_patient() -> None:
    with pytest.raises(ValidationError, match=r"leave split\.unit at patient"):
        Split(unit="image", file=Path("parts.csv"))


def test_too_few_images_of_a_class_are_counted(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((3, 3, 1))
    tables.boxes = tables.boxes.iloc[:-2]
    with pytest.raises(UserError, match=r"at least 3 images of each class.* 2 osteoporosis"):
        by_image(tables)
