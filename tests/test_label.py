from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_index import key, typed

from dsnet import schemas
from dsnet.config.cohort import Label
from dsnet.errors import UserError
from dsnet.label import label, label_boxes, who_class
from dsnet.schemas import BOX, CLASSES

T_SCORES = st.decimals(-10, 10, places=2)
EDGES = dict(zip(BOX, (1.0, 2.0, 31.0, 42.0), strict=True))


def ledger(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return included files, each of one image of one patient unless the row differs."""
    blank = dict.fromkeys(schemas.LEDGER.columns, "")
    return typed(
        schemas.LEDGER,
        [
            {
                **blank,
                "file_key": key("F", number),
                "image_key": key("I", number),
                "patient_key": key("P", 1),
                "study_key": key("E", 1),
                "status": "included",
                "decided_by": "rule",
                **row,
            }
            for number, row in enumerate(rows)
        ],
    )


def boxes(*rows: tuple[int, str]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"file_key": key("F", n), "level": level, **EDGES, "named": True} for n, level in rows]
    )


def exams(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return the exams that grade study 1 of patient 1, unless a row differs."""
    blank = dict.fromkeys(schemas.EXAMS.columns, "")
    usual = {"patient_key": key("P", 1), "study_key": key("E", 1), "status": "nearest"}
    return typed(
        schemas.EXAMS,
        [
            {
                **blank,
                **usual,
                "dxa_row": number,
                "interval_days": "3",
                **{f"{name.replace('spine', 'L1-L4')}_t_score": t for name, t in row.items()},
            }
            | {name: value for name, value in row.items() if name in blank}
            for number, row in enumerate(rows, start=2)
        ],
    )[list(schemas.EXAMS.columns)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("-0.99", "normal"),
        ("-1.0", "normal"),
        ("-1.00", "normal"),
        ("-1", "normal"),
        ("-1.01", "osteopenia"),
        ("-2.49", "osteopenia"),
        ("-2.5", "osteoporosis"),
        ("-2.50", "osteoporosis"),
        ("-2.4999999999999999999", "osteopenia"),
        ("-2.51", "osteoporosis"),
        ("10", "normal"),
        ("-10", "osteoporosis"),
    ],
)
def test_the_limits_are_exact(text: str, name: str) -> None:
    assert who_class(Decimal(text)) == name


@given(T_SCORES, T_SCORES)
@settings(deadline=None, max_examples=50, derandomize=True)
def test_a_lower_t_score_is_never_a_better_class(one: Decimal, other: Decimal) -> None:
    low, high = sorted([one, other])
    assert CLASSES.index(who_class(low)) >= CLASSES.index(who_class(high))


def test_one_row_for_each_lumbar_box() -> None:
    annotated = boxes((0, "L2"), (0, "L1"), (1, "L4"), (0, "T12"), (9, "L1"))
    labels = label_boxes(ledger({}, {}), annotated, exams({"spine": "-2.50"}), "patient")
    schemas.LABELS.validate(labels)
    assert list(zip(labels["file_key"], labels["level"], strict=True)) == [
        (key("F", 0), "L1"),
        (key("F", 0), "L2"),
        (key("F", 1), "L4"),
    ]
    assert set(labels["t_score"]) == {"-2.50"}
    assert set(labels["label"]) == {"osteoporosis"}
    assert labels[list(BOX)].drop_duplicates().to_dict("records") == [EDGES]


@pytest.mark.parametrize(
    ("t_score", "expected"),
    [
        ("patient", ["osteopenia", "osteopenia"]),
        ("vertebra", ["normal", "osteoporosis"]),
        ("lowest", ["osteoporosis", "osteoporosis"]),
    ],
)
def test_each_source_labels_in_its_own_way(t_score: Any, expected: list[str]) -> None:
    table = exams({"L1": "-1.0", "L2": "-2.5", "spine": "-1.7"})
    labels = label_boxes(ledger({}), boxes((0, "L1"), (0, "L2")), table, t_score)
    assert list(labels["label"]) == expected


def test_rows_follow_the_ledger() -> None:
    images = ledger({"file_key": key("F", 1)}, {"file_key": key("F", 0)})
    labels = label_boxes(images, boxes((0, "L1"), (1, "L1")), exams({"spine": "0"}), "patient")
    assert list(labels["file_key"]) == [key("F", 1), key("F", 0)]


def test_each_study_has_its_own_exam() -> None:
    table = exams(
        {"spine": "0"},
        {"spine": "-3", "study_key": key("E", 2)},
        {"spine": "-2", "study_key": key("E", 2), "status": "farther"},
        {"spine": "-2", "patient_key": key("P", 2)},
    )
    images = ledger({}, {"study_key": key("E", 2)}, {"patient_key": key("P", 2)})
    labels = label_boxes(images, boxes((0, "L1"), (1, "L1"), (2, "L1")), table, "patient")
    assert list(labels["label"]) == ["normal", "osteoporosis", "osteopenia"]


def test_an_included_image_without_a_label_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"a box of L1 to L4 for every included image, but found 1"):
        label_boxes(ledger({}, {}), boxes((0, "L1"), (1, "T12")), exams({"spine": "0"}), "patient")
    for table in (exams({"L1": "0"}), exams({"patient_key": key("P", 2), "spine": "0"})):
        with pytest.raises(UserError, match=rf"a T-score for every .* {key('F', 0)} the first"):
            label_boxes(ledger({}), boxes((0, "L1")), table, "patient")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    row = {"table": 1, "row": 1, "format": "coco", "file_key": key("F", 0), "level": "L3"}
    box = {**row, **EDGES, "area_mm2": 1200.0, "named": True, "read_as": ""}
    unused = {**box, "level": "L4", "status": "conflict"}
    annotations = typed(schemas.ANNOTATIONS, [{**box, "status": "used"}, unused])
    schemas.write(schemas.ANNOTATIONS, annotations, tmp_path / "annotations.csv")
    schemas.write(schemas.EXAMS, exams({"spine": "-1.00", "L3": "-2.6"}), tmp_path / "exams.csv")
    return tmp_path


def run(folder: Path, images: pd.DataFrame, **params: Any) -> pd.DataFrame:
    schemas.write(schemas.LEDGER, images, folder / "ledger.csv")
    label(
        label=Label(**params),
        boxes=folder / "annotations.csv",
        exams=folder / "exams.csv",
        ledger=folder / "ledger.csv",
        labels=folder / "labels.csv",
    )
    return schemas.read(schemas.LABELS, folder / "labels.csv")


def test_an_included_box_is_labelled(folder: Path) -> None:
    excluded = {"status": "excluded", "criterion": "no_dxa"}
    (row,) = run(folder, ledger({}, excluded)).to_dict("records")
    assert row == {
        "image_key": key("I", 0),
        "file_key": key("F", 0),
        "patient_key": key("P", 1),
        "study_key": key("E", 1),
        "level": "L3",
        **EDGES,
        "t_score": "-1.00",
        "label": "normal",
    }


def test_the_t_score_is_that_of_the_config(folder: Path) -> None:
    assert list(run(folder, ledger({}), t_score="vertebra")["label"]) == ["osteoporosis"]


def test_an_empty_ledger_says_why(folder: Path) -> None:
    rows = [{"status": "excluded", "criterion": slug} for slug in ("no_dxa", "not_ct", "no_dxa")]
    with pytest.raises(UserError, match=r"but found none of 3 files \(no_dxa 2, not_ct 1\)"):
        run(folder, ledger(*rows))
    with pytest.raises(UserError, match=r"at least one included image, but found no file at all"):
        run(folder, ledger())
    assert not (folder / "labels.csv").exists()
