from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_index import GOOD

from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.schemas import CLASSES, SUBSETS, is_leaky
from dsnet.split import (
    apportion,
    assign_patients,
    describe_patients,
    overlap,
)

FRACTIONS = st.sampled_from([0.1, 0.15, 0.2, 0.25, 0.3])
COUNTS = st.tuples(*[st.integers(8, 25)] * 3)


@settings(deadline=None, max_examples=25)
@given(COUNTS, FRACTIONS, FRACTIONS, st.integers(0, 99))
def test_every_subset_has_every_class_and_test_patients_all_levels(
    make_tables: Callable[..., Any],
    counts: tuple[int, ...],
    test: float,
    validation: float,
    seed: int,
) -> None:
    params = Split(seed=seed, test_fraction=test, validation_fraction=validation)
    tables = make_tables(counts, incomplete=2)
    patients = tables.patients(seed)
    subsets = assign_patients(patients, params)
    assert sorted(subsets.index) == sorted(set(tables.boxes["patient_key"]))
    counted = pd.crosstab(patients["stratum"], subsets)
    assert (counted.loc[list(CLASSES), list(SUBSETS)] >= 1).all(axis=None)
    assert patients["complete"][subsets == "test"].all()
    total = len(patients)
    assert abs((subsets == "test").sum() - test * total) <= 0.5 + 1e-9
    for name in CLASSES:
        assert abs(counted.loc[name, "test"] - test * counted.loc[name].sum()) < 1


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(3, 400), min_size=1, max_size=3), FRACTIONS)
def test_apportion_gives_the_largest_remainders(sizes: list[int], fraction: float) -> None:
    share = Fraction(str(fraction))
    named = dict(zip(CLASSES, sizes, strict=False))
    counts = apportion(named, fraction, {name: size - 2 for name, size in named.items()})
    floors = {name: int(share * size) for name, size in named.items()}
    if min(floors.values()) < 1:
        assert min(counts.values()) >= 1
        return
    # The textbook form: floors, then one seat each by descending remainder.
    seats = int(share * sum(sizes) + Fraction(1, 2)) - sum(floors.values())
    by_remainder = sorted(named, key=lambda name: floors[name] - share * named[name])
    expected = {name: floors[name] + (name in by_remainder[:seats]) for name in named}
    assert counts == expected


@pytest.mark.parametrize(
    ("sizes", "fraction", "expected"),
    [
        ((5, 5, 6), 0.2, (1, 1, 1)),
        ((36, 36, 36), 0.2, (8, 7, 7)),
        ((15, 15, 15), 0.2, (3, 3, 3)),
        ((4, 4, 92), 0.2, (1, 1, 18)),
        ((3, 3, 3), 0.9, (1, 1, 1)),
    ],
)
def test_apportion_by_hand(
    sizes: tuple[int, ...], fraction: float, expected: tuple[int, ...]
) -> None:
    named = dict(zip(CLASSES, sizes, strict=True))
    counts = apportion(named, fraction, {name: size - 2 for name, size in named.items()})
    assert tuple(counts.values()) == expected


def test_the_largest_test_subset_leaves_a_patient_of_each_class_to_the_others(
    make_tables: Callable[..., Any],
) -> None:
    patients = make_tables((3, 4, 5)).patients()
    subsets = assign_patients(patients, Split(test_fraction=0.9, validation_fraction=0.9))
    counted = pd.crosstab(patients["stratum"], subsets)
    for name, test in zip(CLASSES, (1, 2, 3), strict=True):
        assert counted.loc[name].to_dict() == {"test": test, "train": 1, "validation": 1}


def test_another_seed_gives_another_test_subset(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((12, 12, 12))
    test_subsets = set()
    for seed in range(5):
        subsets = tables.subsets(seed)
        test_subsets.add(tables.hashes_of(subsets.index[subsets == "test"]))
    assert len(test_subsets) == 5


def test_too_few_patients_of_a_class_are_counted(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((5, 4, 2))
    with pytest.raises(UserError, match=r"at least 3 .* 5 normal, 4 osteopenia, 2 osteoporosis"):
        tables.subsets()


def test_an_absent_class_is_counted_too(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((5, 0, 5))
    with pytest.raises(UserError, match="5 normal, 0 osteopenia, 5 osteoporosis"):
        tables.subsets()


def test_no_patient_at_all_is_an_error_of_the_same_kind(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((3, 3, 3))
    with pytest.raises(UserError, match="0 normal, 0 osteopenia, 0 osteoporosis"):
        assign_patients(describe_patients(tables.boxes.iloc[:0], tables.files, 0), Split())


def test_too_few_patients_with_all_levels_are_counted(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((1, 9, 9), incomplete=10)
    message = r"all of L1-L4.*: 2 normal, 4 osteopenia, 4 .* 1 normal, 9 osteopenia, 9 "
    with pytest.raises(UserError, match=message):
        tables.subsets()


def subsets_by_content(tables: Any, seed: int = 0) -> dict[str, frozenset[str]]:
    subsets = tables.subsets(seed)
    return {name: tables.hashes_of(subsets.index[subsets == name]) for name in SUBSETS}


def shuffled(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    order = np.random.default_rng(seed).permutation(len(frame))
    return frame.iloc[order].reset_index(drop=True)


@settings(deadline=None, max_examples=12)
@given(rows=st.integers(0, 10**6), key=st.text(max_size=8), seed=st.integers(0, 3))
def test_subsets_of_patients_depend_on_neither_row_order_nor_the_secret_key(
    make_tables: Callable[..., Any], rows: int, key: str, seed: int
) -> None:
    expected = subsets_by_content(make_tables((6, 5, 7), incomplete=1), seed)
    other = make_tables((6, 5, 7), incomplete=1, key=key)
    other.boxes = shuffled(other.boxes, rows)
    other.files = shuffled(other.files, rows + 1)
    assert subsets_by_content(other, seed) == expected


def test_class_is_the_most_severe_and_levels_are_counted(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((3, 3, 3), incomplete=1)
    first = tables.boxes["patient_key"][0]
    boxes = tables.boxes.copy()
    boxes.loc[(boxes["patient_key"] == first) & (boxes["level"] == "L3"), "label"] = "osteoporosis"
    patients = describe_patients(boxes, tables.files, 0)
    assert patients.loc[first, "stratum"] == "osteoporosis"
    assert patients["complete"].sum() == 9
    assert patients["group"].nunique() == len(patients) == 12


@pytest.mark.parametrize("kind", ["study_key", "image_key", "pixel_hash"])
def test_patients_that_share_an_identity_form_one_group(
    make_tables: Callable[..., Any], kind: str
) -> None:
    tables = make_tables((5, 4, 4))
    first, second, third = tables.boxes["patient_key"].unique()[[0, 1, 9]]
    files = tables.files
    # A chain: the first shares with the second, the second with the third.
    of = {key: files.index[files["patient_key"] == key] for key in (first, second, third)}
    files.loc[of[second][0], kind] = files.loc[of[first][0], kind]
    files.loc[of[third][0], kind] = files.loc[of[second][1], kind]
    patients = tables.patients()
    group = patients["group"]
    assert group[first] == group[second] == group[third]
    assert group.nunique() == 11
    subsets = assign_patients(patients, Split())
    assert subsets[first] == subsets[second] == subsets[third]


def extra_file(tables: Any, like: int, patient: str, **values: object) -> pd.DataFrame:
    """Return the index with one more file of `patient`, a copy of row `like`."""
    copy = tables.files.iloc[[like]].assign(
        file_key="F-" + "0" * 16, image_key="I-" + "0" * 16, study_key="", patient_key=patient
    )
    return pd.concat([tables.files, copy.assign(**values)], ignore_index=True)


def test_an_excluded_copy_links_two_patients(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((4, 4, 4))
    keys = tables.boxes["patient_key"].unique()
    group = describe_patients(tables.boxes, extra_file(tables, 0, keys[5]), 0)["group"]
    assert group[keys[0]] == group[keys[5]]


@pytest.mark.parametrize(
    "values", [{"image_kind": "secondary"}, {"hu_max": GOOD["hu_min"]}, {"pixel_hash": ""}]
)
def test_screens_and_blank_images_link_no_patients(
    make_tables: Callable[..., Any], values: dict[str, object]
) -> None:
    tables = make_tables((4, 4, 4))
    keys = tables.boxes["patient_key"].unique()
    files = extra_file(tables, 0, keys[5], **values)
    assert describe_patients(tables.boxes, files, 0)["group"].nunique() == 12


def test_a_labelled_file_that_the_index_lacks_is_named(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((3, 3, 3))
    files = tables.files.drop(index=7)
    file_key = tables.boxes["file_key"][7]
    with pytest.raises(UserError, match=rf"labels.csv row 9 \({file_key}\)"):
        describe_patients(tables.boxes, files, 0)


@settings(deadline=None, max_examples=5)
@given(st.tuples(*[st.integers(4, 9)] * 3), st.integers(0, 99))
def test_every_image_has_a_subset_in_the_fractions_of_its_class_and_patients_overlap(
    make_tables: Callable[..., Any], counts: tuple[int, ...], seed: int
) -> None:
    tables = make_tables(counts, incomplete=1)
    split = tables.by_image(seed)
    assert split["image_key"].tolist() == sorted(tables.boxes["image_key"])
    assert split.index.tolist() == list(range(len(split)))
    assert is_leaky(split)
    assert set(split["leaky"]) == {"LEAKY"}
    for name in CLASSES:
        mine = split[split["stratum"] == name]
        assert abs((mine["subset"] == "test").sum() - 0.2 * len(mine)) < 1
    test = split[split["subset"] == "test"]
    training = set(split.loc[split["subset"] == "train", "patient_key"])
    shared = sum(patient in training for patient in test["patient_key"])
    assert overlap(split) == {
        "test_patients": test["patient_key"].nunique(),
        "test_patients_who_train": len(set(test["patient_key"]) & training),
        "test_images": len(test),
        "test_images_of_patients_who_train": shared,
    }
    # Most of a patient's other images are in training.
    assert shared > 0.5 * len(test)


def test_subsets_of_images_depend_on_neither_row_order_nor_the_secret_key(
    make_tables: Callable[..., Any],
) -> None:
    def test_hashes(tables: Any) -> set[str]:
        split = tables.by_image()
        images = split.loc[split["subset"] == "test", "image_key"]
        return set(tables.files.set_index("image_key").loc[images, "pixel_hash"])

    expected = test_hashes(make_tables((5, 6, 7)))
    other = make_tables((5, 6, 7), key="two")
    other.boxes = other.boxes.iloc[::-1].reset_index(drop=True)
    assert test_hashes(other) == expected


def test_too_few_images_of_a_class_are_counted(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((3, 3, 1))
    tables.boxes = tables.boxes.iloc[:-2]
    with pytest.raises(UserError, match=r"at least 3 images of each class.* 2 osteoporosis"):
        tables.by_image()
