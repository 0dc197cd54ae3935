from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.schemas import SUBSETS
from dsnet.split.draw import draw
from dsnet.split.patients import describe

COUNTS = (6, 5, 7)


def parts_by_content(tables: Any, seed: int = 0) -> dict[str, frozenset[str]]:
    parts = draw(describe(tables.boxes, tables.files, seed), Split(seed=seed))
    return {part: tables.hashes_of(parts.index[parts == part]) for part in SUBSETS}


def shuffled(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    order = np.random.default_rng(seed).permutation(len(frame))
    return frame.iloc[order].reset_index(drop=True)


@settings(deadline=None, max_examples=12)
@given(rows=st.integers(0, 10**6), key=st.text(max_size=8), seed=st.integers(0, 3))
def test_neither_row_order_nor_the_secret_key_moves_a_patient(
    make_tables: Callable[..., Any], rows: int, key: str, seed: int
) -> None:
    expected = parts_by_content(make_tables(COUNTS, incomplete=1), seed)
    other = make_tables(COUNTS, incomplete=1, key=key)
    other.boxes = shuffled(other.boxes, rows)
    other.files = shuffled(other.files, rows + 1)
    assert parts_by_content(other, seed) == expected


def test_class_is_the_most_severe_and_levels_are_counted(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((3, 3, 3), incomplete=1)
    first = tables.boxes["patient_key"][0]
    boxes = tables.boxes.copy()
    boxes.loc[(boxes["patient_key"] == first) & (boxes["level"] == "L3"), "label"] = "osteoporosis"
    patients = describe(boxes, tables.files, 0)
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
    patients = describe(tables.boxes, files, 0)
    group = patients["group"]
    assert group[first] == group[second] == group[third]
    assert group.nunique() == 11
    parts = draw(patients, Split())
    assert parts[first] == parts[second] == parts[third]


def extra_file(tables: Any, like: int, patient: str, **known: object) -> pd.DataFrame:
    """Return the index with one more file of `patient`, a copy of row `like`."""
    copy = tables.files.iloc[[like]].assign(
        file_key="F-" + "0" * 16, image_key="I-" + "0" * 16, study_key="", patient_key=patient
    )
    return pd.concat([tables.files, copy.assign(**known)], ignore_index=True)


def test_an_excluded_copy_links_two_patients(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((4, 4, 4))
    keys = tables.boxes["patient_key"].unique()
    group = describe(tables.boxes, extra_file(tables, 0, keys[5]), 0)["group"]
    assert group[keys[0]] == group[keys[5]]


@pytest.mark.parametrize(
    "known", [{"image_kind": "secondary"}, {"hu_max": -1024.0}, {"pixel_hash": ""}]
)
def test_screens_and_blank_images_link_nobody(
    make_tables: Callable[..., Any], known: dict[str, object]
) -> None:
    tables = make_tables((4, 4, 4))
    keys = tables.boxes["patient_key"].unique()
    files = extra_file(tables, 0, keys[5], **known)
    assert describe(tables.boxes, files, 0)["group"].nunique() == 12


def test_a_labelled_file_that_the_index_lacks_is_named(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((3, 3, 3))
    files = tables.files.drop(index=7)
    file_key = tables.boxes["file_key"][7]
    with pytest.raises(UserError, match=rf"labels.csv row 9 \({file_key}\)"):
        describe(tables.boxes, files, 0)
