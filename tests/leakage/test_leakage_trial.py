import json
from pathlib import Path
from typing import Any

import pytest

from dsnet import schemas
from dsnet.config.cohort import Split
from dsnet.config.detector import Window
from dsnet.config.evaluate import Leakage
from dsnet.detect.part import Part
from dsnet.errors import UserError
from dsnet.files import sha256
from dsnet.leakage.trial import prepare
from dsnet.split.leak import is_leaky, overlap
from dsnet.step import run


def prepared(trial: str, ellipses: Any, folder: Path) -> dict[str, Path]:
    made = {
        "trial_boxes": folder / "slices.csv",
        "trial_split": folder / "split.csv",
        "trial_digest": folder / "slices.json",
    }
    given = {"boxes": ellipses.boxes, "split": ellipses.split, "digest": ellipses.digest}
    sections = {"params": Leakage().model_dump_json(), "splitting": Split().model_dump_json()}
    named = {**sections, "trial": trial, **given, **made}
    run(prepare, [w for k, v in named.items() for w in (f"--{k.replace('_', '-')}", str(v))])
    return made


def test_a_leaky_trial_is_another_split_of_the_same_boxes(ellipses: Any, tmp_path: Path) -> None:
    made = prepared("LEAKY/true", ellipses, tmp_path)
    assert made["trial_boxes"].read_bytes() == ellipses.boxes.read_bytes()
    split = schemas.read(schemas.SPLIT, made["trial_split"])
    assert is_leaky(split)
    assert overlap(split)["test_patients_who_train"] > 0
    honest = schemas.read(schemas.SPLIT, ellipses.split)
    assert not is_leaky(honest)
    assert sorted(split["image_key"]) == sorted(honest["image_key"])
    facts = json.loads(made["trial_digest"].read_text())
    assert facts["split_sha256"] == sha256(made["trial_split"]) != sha256(ellipses.split)


def test_shuffled_training_labels_leave_the_test_part_alone(ellipses: Any, tmp_path: Path) -> None:
    made = prepared("patient/shuffled", ellipses, tmp_path)
    assert made["trial_split"].read_bytes() == ellipses.split.read_bytes()
    before = schemas.read(schemas.SLICES, ellipses.boxes)
    after = schemas.read(schemas.SLICES, made["trial_boxes"])
    assert after.drop(columns="label").equals(before.drop(columns="label"))
    parts = schemas.read(schemas.SPLIT, ellipses.split).set_index("image_key")["subset"]
    part = before["image_key"].map(parts)
    moved = after["label"] != before["label"]
    assert not moved[part == "test"].any()
    assert moved[part == "train"].any()
    for name in ("train", "validation"):
        labels = after[part == name].groupby("patient_key")["label"]
        assert labels.nunique().eq(1).all()
        assert sorted(labels.first()) == sorted(schemas.CLASSES)
    facts = json.loads(made["trial_digest"].read_text())
    assert facts["cohort"] == "ellipses, training labels shuffled"


@pytest.mark.parametrize("trial", ["LEAKY/true", "patient/shuffled"])
def test_training_reads_a_trial_from_the_same_store(
    ellipses: Any, tmp_path: Path, trial: str
) -> None:
    made = prepared(trial, ellipses, tmp_path)
    paths = {"boxes": made["trial_boxes"], "split": made["trial_split"]}
    part = Part("train", store=ellipses.store, **paths, windows=[Window()])
    assert len(part) > 0
    assert part[0].labels.min() >= 1


def test_a_cohort_that_is_split_by_image_is_refused(ellipses: Any, tmp_path: Path) -> None:
    leaky = prepared("LEAKY/true", ellipses, tmp_path)
    named = {"boxes": ellipses.boxes, "split": leaky["trial_split"], "digest": ellipses.digest}
    with pytest.raises(UserError, match=r"set split\.unit to patient"):
        prepare(params=Leakage(), splitting=Split(), trial="patient/shuffled", **named, **leaky)


def test_an_unknown_trial_is_refused(ellipses: Any, tmp_path: Path) -> None:
    named = {"boxes": ellipses.boxes, "split": ellipses.split, "digest": ellipses.digest}
    made = {name: tmp_path / name for name in ("trial_boxes", "trial_split", "trial_digest")}
    with pytest.raises(UserError, match="LEAKY/true, patient/shuffled"):
        prepare(params=Leakage(), splitting=Split(), trial="image/true", **named, **made)
