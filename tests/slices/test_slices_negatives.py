"""Which slices are known to show no body of L1 to L4."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dsnet import schemas
from dsnet.config.cohort import Slices
from dsnet.errors import UserError
from dsnet.slice_tables import NEGATIVES
from dsnet.slices.negatives import find_negatives, write_negatives

LEVELS = ("L1", "L2", "L3", "L4")


def key(letter: str, number: int) -> str:
    return f"{letter}-{number:016x}"


def slices(count: int, criteria: dict[int, str] | None = None) -> tuple[Any, Any, Any]:
    """Return index, ledger and split of one patient: slices 3 mm apart, from the foot."""
    numbers = range(count)
    index = pd.DataFrame(
        {
            "file_key": [key("F", n) for n in numbers],
            "image_key": [key("I", n) for n in numbers],
            "patient_key": key("P", 0),
            "series_key": key("S", 0),
            "position_mm": [3.0 * n for n in numbers],
            "series_spacing_mm": 3.0,
            "pixel_hash": [f"{n:032x}" for n in numbers],
            "orientation": "LP",
        }
    )
    failed = [(criteria or {}).get(n, "not_lumbar") for n in numbers]
    ledger = index[["file_key"]].assign(all_criteria=failed)
    split = pd.DataFrame({"patient_key": [key("P", 0)], "subset": ["train"]})
    return index, ledger, split


def boxes(
    *rows: tuple[int, str], form: str = "coco", table: int = 1, status: str = "used"
) -> pd.DataFrame:
    """Return annotations: number of the file, and level."""
    table_rows = [
        {
            "table": table,
            "format": form,
            "file_key": key("F", number),
            "level": level,
            "status": status,
            "named": False,
            **dict.fromkeys(("x_min", "y_min", "x_max", "y_max"), 0.0),
        }
        for number, level in rows
    ]
    return pd.DataFrame(table_rows)


def found(annotations: pd.DataFrame, tables: tuple[Any, Any, Any]) -> dict[int, str]:
    index, ledger, split = tables
    negatives = find_negatives(index, annotations, ledger, split)
    assert set(negatives["subset"]) <= {"train"}
    return {int(one["file_key"][2:], 16): one["reason"] for one in negatives.to_dict("records")}


def test_a_slice_with_other_levels_alone_is_a_negative_and_one_without_a_label_is_not() -> None:
    annotated = boxes((0, "L5"), (1, "L5"), (1, "L4"), (2, "L4"), (4, "T12"), (5, "S1"))
    assert found(annotated, slices(7, {1: "", 2: ""})) == {0: "L5", 4: "T12", 5: "S1"}


def test_a_lumbar_box_that_is_not_used_keeps_its_slice_from_being_a_negative() -> None:
    annotated = pd.concat([boxes((0, "L5")), boxes((0, "L4"), status="conflict")])
    assert found(annotated, slices(2)) == {}


def test_slices_that_fail_anything_else_are_no_negatives() -> None:
    criteria = {0: "not_lumbar;no_dxa", 1: "not_lumbar;cement?", 2: "contrast_enhanced;not_lumbar"}
    annotated = boxes((0, "L5"), (1, "L5"), (2, "L5"))
    assert found(annotated, slices(3, criteria)) == {1: "L5"}


def test_slices_beyond_a_whole_mask_are_negatives_with_a_margin() -> None:
    rows = [(number, LEVELS[3 - (number - 5) // 3]) for number in range(5, 17)]
    masked = boxes(*rows, form="nifti")
    expected = dict.fromkeys((0, 1, 2, 3, 18, 19), "off the mask")
    inside = dict.fromkeys(range(5, 17), "")
    assert found(masked, slices(20, inside)) == expected
    # One level is missing: the spine may go on beyond it.
    assert found(masked[masked["level"] != "L4"], slices(20, inside)) == {}
    # Boxes on a few slices say nothing of the others.
    assert found(masked.assign(format="coco"), slices(20, inside)) == {}


def test_discs_between_the_bodies_of_a_whole_mask_are_negatives() -> None:
    numbers = [*range(0, 8), *range(12, 20), *range(24, 32), *range(36, 44)]
    masked = boxes(*((n, LEVELS[3 - n // 12]) for n in numbers), form="seg")
    inside = dict.fromkeys(numbers, "")
    discs = dict.fromkeys((9, 10, 21, 22, 33, 34), "off the mask")
    assert found(masked, slices(44, inside)) == discs
    # A mask of some slices of each body alone says nothing of those in between.
    for left_out in ({3}, {0, 1, 2, 3, 4}, {5, 6, 7}):
        sparse = masked[~masked["file_key"].isin([key("F", n) for n in left_out])]
        assert found(sparse, slices(44, inside)) == {}


def test_patients_outside_of_the_split_have_no_negatives() -> None:
    index, ledger, split = slices(2)
    other = split.assign(patient_key=key("P", 1))
    assert find_negatives(index, boxes((0, "L5")), ledger, other).empty


def test_images_are_stored_on_the_grid_and_one_that_has_changed_stops_the_step(
    tmp_path: Path, make_cohort: Callable[..., Any], write_ct: Callable[..., Path]
) -> None:
    cohort = make_cohort(4)
    names = ["file_key", "image_key", "patient_key", "pixel_hash"]
    found_files = cohort.labels[names[:3]].merge(cohort.index[["file_key", "pixel_hash"]])
    found_files = found_files.assign(subset="train", reason="L5", orientation="LP")
    files = {"store": tmp_path / "n.npy", "table": tmp_path / "n.csv"}

    def write(found: pd.DataFrame) -> None:
        params = Slices(size_px=48, pixel_mm=2.0)
        write_negatives(found, cohort.identities, cohort.dicom, slices=params, **files)

    write(found_files)
    stored, table = np.load(tmp_path / "n.npy"), schemas.read(NEGATIVES, tmp_path / "n.csv")
    assert stored.shape == (4, 48, 48)
    assert stored.max(axis=(1, 2)).tolist() == [176, 177, 178, 179]
    assert table["row"].tolist() == [0, 1, 2, 3]
    write(found_files[:0])
    assert np.load(tmp_path / "n.npy").shape == (0, 48, 48)
    assert schemas.read(NEGATIVES, tmp_path / "n.csv").empty
    write_ct(cohort.dicom / "DOE" / "IM0002", np.zeros((48, 40), np.uint16))
    with pytest.raises(UserError, match="expected the pixels that ingestion read"):
        write(found_files)
