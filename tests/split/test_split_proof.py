from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.schemas import SUBSETS
from dsnet.split import overlap
from dsnet.split.step import check, prove, split_table


@pytest.fixture
def sound(make_tables: Callable[..., Any]) -> Any:
    tables = make_tables((5, 5, 5))
    tables.split = split_table(tables.boxes, tables.patients(), tables.subsets())
    return tables


def test_counts_of_a_sound_split(sound: Any) -> None:
    proof = prove(sound.split, sound.boxes, sound.files, Split())
    check(proof)
    assert {count for pairs in proof["shared"].values() for count in pairs.values()} == {0}
    assert proof["distinct"]["patient"] == {"train": 9, "validation": 3, "test": 3}
    assert proof["distinct"]["study"] == {"train": 9, "validation": 3, "test": 3}
    for kind in ("sop_uid", "pixel_hash"):
        assert proof["distinct"][kind] == {"train": 36, "validation": 12, "test": 12}
    for subset in SUBSETS:
        each = 3 if subset == "train" else 1
        counts = {"patients": each, "images": 4 * each, "boxes": 4 * each}
        assert set(proof["classes"][subset]) == {"normal", "osteopenia", "osteoporosis"}
        assert all(counted == counts for counted in proof["classes"][subset].values())
    assert proof["fraction"]["patients"] == {"train": 0.6, "validation": 0.2, "test": 0.2}
    assert proof["seed"] == 0
    assert proof["requested"] == {"test_of_all": 0.2, "validation_of_rest": 0.15}


def test_two_boxes_on_one_image_count_once_as_image(sound: Any) -> None:
    boxes = sound.boxes
    test_image = sound.split["image_key"][sound.split["subset"] == "test"].iloc[0]
    box = boxes[boxes["image_key"] == test_image]
    other = "L1" if box["level"].item() != "L1" else "L2"
    boxes = pd.concat([boxes, box.assign(level=other, label="osteoporosis")], ignore_index=True)
    proof = prove(sound.split, boxes, sound.files, Split())
    counts = proof["classes"]["test"].values()
    assert sum(count["boxes"] for count in counts) == 13
    assert sum(count["images"] for count in counts) == 12
    assert sum(count["patients"] for count in counts) == 3


@pytest.mark.parametrize("kind", ["patient", "study", "sop_uid", "pixel_hash"])
def test_what_two_subsets_share_is_counted(sound: Any, kind: str) -> None:
    split, files = sound.split, sound.files
    train = split[split["subset"] == "train"].iloc[0]
    test = split[split["subset"] == "test"].iloc[0]
    if kind == "patient":
        split.loc[split["image_key"] == train["image_key"], "subset"] = "test"
    elif kind == "sop_uid":
        doubled = test.to_frame().T.assign(image_key=train["image_key"])
        split = pd.concat([split, doubled], ignore_index=True)
    else:
        column = {"study": "study_key", "pixel_hash": "pixel_hash"}[kind]
        value = files.loc[files["image_key"] == train["image_key"], column].item()
        files.loc[files["image_key"] == test["image_key"], column] = value
    proof = prove(split, sound.boxes, files, Split())
    assert proof["shared"][kind]["train-test"] == 1
    with pytest.raises(UserError, match="train and test"):
        check(proof)


def test_unknown_identities_are_not_shared(sound: Any) -> None:
    sound.files["study_key"] = ""
    proof = prove(sound.split, sound.boxes, sound.files, Split())
    assert set(proof["distinct"]["study"].values()) == {0}
    check(proof)


def test_the_proof_says_leaky_first_and_is_no_proof(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((5, 5, 5))
    split = tables.by_image()
    proof = prove(split, tables.boxes, tables.files, Split(unit="image"))
    assert next(iter(proof)) == "LEAKY"
    assert proof["unit"] == "image"
    assert proof["leak"] == overlap(split)
    assert proof["shared"]["patient"]["train-test"] == proof["leak"]["test_patients_who_train"] > 0
    assert proof["shared"]["sop_uid"] == dict.fromkeys(proof["shared"]["sop_uid"], 0)
    check(proof)
    unmarked = prove(split.drop(columns="leaky"), tables.boxes, tables.files, Split())
    with pytest.raises(UserError, match="expected no patient in both subsets"):
        check(unmarked)


def test_a_split_that_would_not_leak_is_refused(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((5, 5, 5))
    split = tables.by_image().drop_duplicates("patient_key")
    with pytest.raises(UserError, match="patients with images in training and test"):
        overlap(split)
