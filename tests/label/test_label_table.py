from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from dsnet import schemas
from dsnet.cohort.exam import DxaTable, Exam
from dsnet.errors import UserError
from dsnet.label.table import label_boxes


def key(letter: str, number: int) -> str:
    return f"{letter}-{number:016d}"


def images(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "file_key": key("F", number),
                "image_key": key("I", number),
                "patient_key": key("P", 1),
                "study_key": key("E", 1),
                "relative_path": f"{number}.dcm",
                "patient_id": "007",
                "ct_date": "2020-01-01",
                **row,
            }
            for number, row in enumerate(rows)
        ]
    )


def boxes(*rows: tuple[int, str]) -> pd.DataFrame:
    edges = dict.fromkeys(schemas.BOX, 1.0)
    return pd.DataFrame(
        [{"file_key": key("F", n), "level": level, **edges, "named": True} for n, level in rows]
    )


def dxa(day: str = "2020-02-01", patient: str = "007", **scores: str) -> DxaTable:
    told = {name.replace("spine", "L1-L4"): Decimal(text) for name, text in scores.items()}
    return DxaTable({patient: (Exam(2, patient, date.fromisoformat(day), told),)})


def test_one_row_for_each_lumbar_box() -> None:
    placed = boxes((0, "L2"), (0, "L1"), (1, "L4"), (0, "T12"), (9, "L1"))
    labels = label_boxes(images({}, {}), placed, dxa(spine="-2.50"), "patient")
    schemas.LABELS.validate(labels)
    assert list(zip(labels["file_key"], labels["level"], strict=True)) == [
        (key("F", 0), "L1"),
        (key("F", 0), "L2"),
        (key("F", 1), "L4"),
    ]
    assert set(labels["t_score"]) == {"-2.50"}
    assert set(labels["label"]) == {"osteoporosis"}


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        ("patient", ["osteopenia", "osteopenia"]),
        ("vertebra", ["normal", "osteoporosis"]),
        ("lowest", ["osteoporosis", "osteoporosis"]),
    ],
)
def test_each_reading_labels_in_its_own_way(reading: Any, expected: list[str]) -> None:
    table = dxa(L1="-1.0", L2="-2.5", spine="-1.7")
    labels = label_boxes(images({}), boxes((0, "L1"), (0, "L2")), table, reading)
    assert list(labels["label"]) == expected


def test_rows_follow_the_content_and_not_the_key() -> None:
    rows = images({"relative_path": "b"}, {"relative_path": "a"})
    placed = boxes((0, "L1"), (1, "L1"))
    labels = label_boxes(rows, placed, dxa(spine="0"), "patient")
    assert list(labels["file_key"]) == [key("F", 1), key("F", 0)]


def test_the_exam_nearest_to_each_study_counts() -> None:
    near, far = dxa("2020-01-05", spine="0"), dxa("2022-01-05", spine="-3")
    table = DxaTable({"007": (*near.exams["007"], *far.exams["007"])})
    rows = images({}, {"ct_date": "2022-01-01"})
    labels = label_boxes(rows, boxes((0, "L1"), (1, "L1")), table, "patient")
    assert list(labels["label"]) == ["normal", "osteoporosis"]


def test_an_included_image_without_a_label_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"a box of L1 to L4 for every included image, but found 1"):
        label_boxes(images({}, {}), boxes((0, "L1"), (1, "T12")), dxa(spine="0"), "patient")
    for table in (dxa(L1="0"), dxa(patient="7", spine="0")):
        with pytest.raises(UserError, match="a T-score for every included image"):
            label_boxes(images({}), boxes((0, "L1")), table, "patient")
