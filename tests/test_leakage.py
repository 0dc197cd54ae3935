import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet import schemas
from dsnet.config.cohort import Split
from dsnet.config.detector import Window
from dsnet.config.evaluate import Leakage
from dsnet.detect.dataset import SliceDataset
from dsnet.errors import UserError
from dsnet.files import sha256
from dsnet.leakage import prepare, shuffled
from dsnet.schemas import CLASSES, LEVELS, is_leaky
from dsnet.split import overlap
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
    run(prepare, argv=[w for k, v in named.items() for w in (f"--{k.replace('_', '-')}", str(v))])
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


def test_shuffled_training_labels_leave_the_test_subset_as_it_is(
    ellipses: Any, tmp_path: Path
) -> None:
    made = prepared("patient/shuffled", ellipses, tmp_path)
    assert made["trial_split"].read_bytes() == ellipses.split.read_bytes()
    before = schemas.read(schemas.SLICES, ellipses.boxes)
    after = schemas.read(schemas.SLICES, made["trial_boxes"])
    assert after.drop(columns="label").equals(before.drop(columns="label"))
    subsets = schemas.read(schemas.SPLIT, ellipses.split).set_index("image_key")["subset"]
    subset = before["image_key"].map(subsets)
    moved = after["label"] != before["label"]
    assert not moved[subset == "test"].any()
    assert moved[subset == "train"].any()
    for name in ("train", "validation"):
        labels = after[subset == name].groupby("patient_key")["label"]
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
    images = SliceDataset("train", store=ellipses.store, **paths, windows=[Window()])
    assert len(images) > 0
    assert images[0].labels.min() >= 1


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


PATIENTS = st.lists(
    st.tuples(
        st.sampled_from(CLASSES),
        st.lists(st.sampled_from(LEVELS), min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=12,
)


def boxes(patients: list[tuple[str, list[str]]]) -> pd.DataFrame:
    rows = [
        (f"P-{number}", level, label)
        for number, (label, levels) in enumerate(patients)
        for level in levels
    ]
    return pd.DataFrame(rows, columns=["patient_key", "level", "label"])


@settings(deadline=None, max_examples=30)
@given(PATIENTS, st.integers(0, 2**32 - 1))
def test_patients_stay_whole_and_classes_keep_their_number(
    patients: list[tuple[str, list[str]]], seed: int
) -> None:
    rows = boxes(patients)
    again = rows.assign(label=shuffled(rows, np.random.default_rng(seed)))
    by_patient = again.groupby("patient_key")["label"]
    assert by_patient.nunique().eq(1).all()
    before = rows.groupby("patient_key")["label"].first().value_counts()
    assert by_patient.first().value_counts().to_dict() == before.to_dict()


def test_levels_move_as_one_profile_and_gaps_take_the_nearest() -> None:
    whole = [("P-a", level, "normal" if level < "L3" else "osteopenia") for level in LEVELS]
    partial = [("P-b", "L3", "osteoporosis")]
    rows = pd.DataFrame(whole + partial, columns=["patient_key", "level", "label"])
    seen = set()
    for seed in range(20):
        labels = shuffled(rows, np.random.default_rng(seed)).tolist()
        seen.add(tuple(labels))
    kept = (*["normal"] * 2, *["osteopenia"] * 2, "osteoporosis")
    assert seen == {kept, (*["osteoporosis"] * 4, "osteopenia")}
