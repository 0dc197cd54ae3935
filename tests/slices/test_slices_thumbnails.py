import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dsnet import schemas
from dsnet.config.output import Report
from dsnet.slices.thumbnails import (
    EDGE_PX,
    bone_window,
    choose,
    picture,
    showable,
    thumbnails,
)

MakeCohort = Callable[..., Any]
WriteCt = Callable[..., Path]


def small_ledger(patients: int, images: int) -> pd.DataFrame:
    """Return what the rule looks at: every third patient out, every fourth image flagged."""
    number = np.arange(patients * images)
    patient = number // images
    criterion = np.where(patient % 3 == 0, "tumour", "")
    return pd.DataFrame(
        {
            "patient_key": patient.astype(str),
            "criterion": criterion,
            "all_criteria": np.where((criterion == "") & (number % 4 == 0), "cement?", criterion),
        }
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 80))
def test_the_sample_is_bounded_and_spread(patients: int, images: int, number: int) -> None:
    ledger = small_ledger(patients, images)
    eligible = pd.Series(np.arange(len(ledger)) % 5 != 4)
    chosen = choose(ledger, eligible, number)
    assert len(chosen) == len(set(chosen)) == min(number, int(eligible.sum()))
    kinds = ledger.loc[eligible, "criterion"].nunique()
    assert ledger.loc[chosen, "criterion"].nunique() >= min(number // 2, kinds)
    assert eligible[chosen].all()
    # A larger sample holds the smaller one.
    assert choose(ledger, eligible, number + 1)[:number] == chosen


def test_kinds_take_turns_then_patients_then_images_from_the_middle() -> None:
    rows = [(patient, "") for patient in "ab" for _ in range(3)] + [("c", "tumour")] * 3
    ledger = pd.DataFrame(rows, columns=["patient_key", "criterion"])
    ledger["all_criteria"] = ledger["criterion"]
    ledger.loc[5, "all_criteria"] = "cement?"
    everything = pd.Series(True, index=ledger.index)
    # Of b, one image is flagged and the middle of the two others is the first.
    assert choose(ledger, everything, 9) == [1, 5, 7, 3, 6, 0, 8, 4, 2]


def test_the_middle_image_comes_first() -> None:
    ledger = small_ledger(1, 7)
    assert choose(ledger, ledger["patient_key"] != "", 7)[0] == 3


def test_the_bone_window_ends_at_its_edges() -> None:
    grey = bone_window(np.array([-2000, -450, 300, 1050, 3000]))
    assert list(grey) == [0, 0, 128, 255, 255]


def test_a_picture_has_square_pixels() -> None:
    hu = np.full((16, 8), 300)
    hu[:8] = -1000
    width, height, text = picture(hu, (1.0, 3.0))
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    assert image.size == (width, height) == (EDGE_PX, 96)
    assert image.mode == "L"
    assert image.getpixel((70, 20)) <= 3
    assert abs(image.getpixel((70, 75)) - 128) <= 3


SHOWABLE = {
    "modality": "CT",
    "image_kind": "original",
    "decoded": True,
    "hu_scale": True,
    "row_spacing_mm": 0.8,
}


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        ({}, True),
        ({"image_kind": "secondary"}, False),
        ({"image_kind": "derived"}, False),
        ({"image_kind": "unknown"}, False),
        ({"modality": "MR"}, False),
        ({"decoded": False}, False),
        ({"hu_scale": False}, False),
        ({"row_spacing_mm": np.nan}, False),
        ({"row_spacing_mm": 0.0}, False),
    ],
)
def test_only_original_slices_are_shown_of_what_is_excluded(
    fault: dict[str, Any], shown: bool
) -> None:
    index = pd.DataFrame([{**SHOWABLE, **fault}] * 2)
    ledger = pd.DataFrame({"status": ["excluded", "included"]})
    assert list(showable(ledger, index)) == [shown, True]


def written(cohort: Any, folder: Path, excluded: set[int], number: int = 50) -> pd.DataFrame:
    """Run the step on a ledger in which some files are excluded; return its table."""
    paths = cohort.save(folder)
    blank = dict.fromkeys(schemas.LEDGER.columns, "")
    keys = ["file_key", "image_key", "patient_key", "study_key"]
    rows = [
        {**blank, **row, "decided_by": "rule", "status": "excluded", "criterion": "tumour"}
        if at in excluded
        else {**blank, **row, "decided_by": "rule", "status": "included"}
        for at, row in enumerate(cohort.index[keys].to_dict("records"))
    ]
    ledger = folder / "cohort" / "ledger.csv"
    schemas.write(schemas.LEDGER, pd.DataFrame(rows), ledger)
    pictures = folder / "cohort" / "thumbnails.parquet"
    named = {name: paths[name] for name in ("cohort", "private", "source", "index")}
    thumbnails(report=Report(thumbnails=number), ledger=ledger, pictures=pictures, **named)
    return schemas.read(schemas.THUMBNAILS, pictures)


@pytest.fixture
def cohort(make_cohort: MakeCohort) -> Any:
    made = make_cohort(6)
    made.index = made.index.assign(
        modality="CT", decoded=True, hu_scale=True, row_spacing_mm=2.0, column_spacing_mm=2.5
    )
    return made


def test_pictures_are_made_of_excluded_images_alone(tmp_path: Path, cohort: Any) -> None:
    table = written(cohort, tmp_path / "results", {1, 4})
    keys = cohort.index["file_key"]
    assert set(table["file_key"]) == {keys[1], keys[4]}
    # 48 rows of 2 mm, 40 columns of 2.5 mm.
    assert set(zip(table["width_px"], table["height_px"], strict=True)) == {(EDGE_PX, 138)}
    image = Image.open(io.BytesIO(base64.b64decode(table["jpeg_base64"][0])))
    assert image.size == (EDGE_PX, 138)


def test_a_file_that_is_gone_or_changed_gives_no_picture(
    tmp_path: Path, cohort: Any, write_ct: WriteCt
) -> None:
    paths = [cohort.dicom / path for path in cohort.identities["relative_path"]]
    paths[0].unlink()
    write_ct(paths[1], np.full((48, 40), 1100, np.uint16))
    table = written(cohort, tmp_path / "results", {0, 1, 2})
    assert list(table["file_key"]) == [cohort.index["file_key"][2]]


@pytest.mark.parametrize("elements", [{"BurnedInAnnotation": "YES"}, {"ConversionType": "WSD"}])
def test_what_may_show_a_name_gives_no_picture(
    tmp_path: Path, cohort: Any, write_ct: WriteCt, elements: dict[str, str]
) -> None:
    for at in (0, 1):
        path = cohort.dicom / cohort.identities["relative_path"][at]
        stored = np.zeros((48, 40), np.uint16)
        stored[8:40, 6:34] = 1064
        stored[20:29, 15:24] = 1200 + at
        write_ct(path, stored, **(elements if at else {}))
    table = written(cohort, tmp_path / "results", {0, 1})
    assert list(table["file_key"]) == [cohort.index["file_key"][0]]


def test_none_is_made_when_none_is_wanted(tmp_path: Path, cohort: Any) -> None:
    assert written(cohort, tmp_path / "results", {0, 1, 2}, number=0).empty
