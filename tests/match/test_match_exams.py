from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_index import PRIVATE, UNREADABLE, cohort, dxa, exam, key, of_ct, typed

from dsnet import schemas
from dsnet.cohort.exams import DxaTable, exams_table, level_scores
from dsnet.schemas import LEVELS


def table(measured: DxaTable, *rows: dict[str, Any]) -> pd.DataFrame:
    exams = exams_table(of_ct(*cohort(*rows)), measured, PRIVATE)
    return schemas.EXAMS.validate(exams)


def facts(exams: pd.DataFrame) -> list[tuple[Any, ...]]:
    columns = ["study_key", "dxa_row", "interval_days", "status"]
    return list(exams[columns].itertuples(index=False, name=None))


def test_every_exam_of_a_patient_is_listed_for_each_study_in_order_of_date() -> None:
    measured = dxa(exam("001", "2020-06-01", 2), exam("001", "2018-12-31", 3), exam("001", "", 4))
    exams = table(measured, {}, {"study": 7, "ct_date": "2019-01-02"}, {})
    assert facts(exams) == [
        (key("E", 1), 4, "", "undated"),
        (key("E", 1), 3, "366", "farther"),
        (key("E", 1), 2, "-152", "nearest"),
        (key("E", 7), 4, "", "undated"),
        (key("E", 7), 3, "2", "nearest"),
        (key("E", 7), 2, "-516", "farther"),
    ]
    assert set(exams["patient_key"]) == {key("P", 1)}


def test_a_study_of_several_days_counts_by_its_first() -> None:
    measured = dxa(exam("001", "2019-12-25", 2), exam("001", "2020-01-20", 3))
    days = [{"ct_date": day} for day in ("2020-01-19", "", "2020-01-01", "2020-01-20")]
    assert facts(table(measured, *days)) == [
        (key("E", 1), 2, "7", "nearest"),
        (key("E", 1), 3, "-19", "farther"),
    ]


def test_a_study_that_two_patients_share_is_two() -> None:
    measured = dxa(exam("001", "2020-01-05", 2), exam("002", "2020-01-09", 3))
    rows = [{}, {"patient": 2, "study": 1, "ct_date": "2020-01-10"}]
    exams = table(measured, *rows)
    assert facts(exams) == [
        (key("E", 1), 2, "-4", "nearest"),
        (key("E", 1), 3, "1", "nearest"),
    ]
    assert list(exams["patient_key"]) == [key("P", 1), key("P", 2)]


def test_of_two_equally_near_exams_the_earlier_grades() -> None:
    measured = dxa(exam("001", "2020-01-11", 2), exam("001", "2019-12-22", 3))
    assert facts(table(measured, {})) == [
        (key("E", 1), 3, "10", "nearest"),
        (key("E", 1), 2, "-10", "farther"),
    ]


def test_of_two_rows_of_one_date_the_first_grades() -> None:
    measured = dxa(exam("001", "2020-01-11", 5), exam("001", "2020-01-11", 4))
    assert [row[1:] for row in facts(table(measured, {}))] == [
        (4, "-10", "nearest"),
        (5, "-10", "farther"),
    ]


def test_without_a_date_of_the_ct_the_latest_exam_grades() -> None:
    measured = dxa(exam("001", "2020-06-01", 2), exam("001", "2019-06-01", 3), exam("001", "", 4))
    assert [row[1:] for row in facts(table(measured, {"ct_date": ""}))] == [
        (4, "", "undated"),
        (3, "", "undated"),
        (2, "", "nearest"),
    ]


def test_an_exam_without_a_date_grades_where_there_is_no_other() -> None:
    assert [row[1:] for row in facts(table(dxa(exam("001", "")), {}))] == [(2, "", "nearest")]


def test_exams_without_a_ct_come_last_under_the_key_that_the_patient_would_have() -> None:
    measured = dxa(exam("009", "2020-01-01", 2), exam("001", row=3), exam("009", "", 4))
    exams = table(measured, {}, UNREADABLE)
    assert facts(exams) == [
        (key("E", 1), 3, "-10", "nearest"),
        ("", 4, "", "no_ct"),
        ("", 2, "", "no_ct"),
    ]
    assert set(exams["patient_key"][1:]) == {PRIVATE.pseudonym("patient", "009")}


def test_a_blank_patient_id_matches_no_exam() -> None:
    exams = table(dxa(exam("001")), {"patient": 2, "patient_id": ""}, UNREADABLE)
    assert list(exams["status"]) == ["no_ct"]


def test_t_scores_are_written_as_they_grade() -> None:
    scores = {"spine": "-2.45", "L1": "-0.00000001", "L2": "-0.5", "L4": "-1"}
    (row,) = table(dxa(exam("001", **scores)), {}).to_dict("records")
    regions = ("L1", "L2", "L3", "L4", "L1-L4")
    assert [row[f"{region}_t_score"] for region in regions] == [
        "0.0",
        "-0.5",
        "",
        "-1.0",
        "-2.5",
    ]


def test_no_exam_and_no_ct_are_legal() -> None:
    assert table(dxa(), {}, UNREADABLE).empty
    assert list(table(dxa(exam("001")), UNREADABLE)["status"]) == ["no_ct"]
    assert level_scores(table(dxa(), {}), "lowest").empty


SCORES = {"L1": "-1.0", "L2": "-2.5", "L4": "-10", "spine": "-1.7"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("patient", ["-1.7", "-1.7", "-1.7", "-1.7"]),
        ("vertebra", ["-1.0", "-2.5", "", "-10.0"]),
        ("lowest", ["-10.0", "-10.0", "-10.0", "-10.0"]),
    ],
)
def test_each_source_has_its_own_t_score(source: Any, expected: list[str]) -> None:
    exams = table(dxa(exam("001", **SCORES), exam("001", "2015-01-01", 3, spine="3")), {})
    scores = level_scores(exams, source)
    assert list(scores.columns) == ["patient_key", "study_key", "interval_days", *LEVELS]
    assert scores[list(LEVELS)].to_numpy().tolist() == [expected]
    assert list(scores["interval_days"]) == ["-10"]
    assert list(scores["study_key"]) == [key("E", 1)]


def test_the_lowest_needs_two_levels() -> None:
    scores = level_scores(table(dxa(exam("001", L3="-4", spine="-4")), {}), "lowest")
    assert scores[list(LEVELS)].to_numpy().tolist() == [[""] * 4]
    two = level_scores(table(dxa(exam("001", L3="-4", L2="9.5")), {}), "lowest")
    assert two[list(LEVELS)].to_numpy().tolist() == [["-4.0"] * 4]


T_SCORE = st.decimals(-10, 10, places=1)


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(LEVELS, T_SCORE)), max_size=4))
@settings(deadline=None, max_examples=30, derandomize=True)
def test_the_lowest_is_the_smallest_number(exams: list[dict[str, Decimal]]) -> None:
    blank = dict.fromkeys(schemas.EXAMS.columns, "")
    rows = [
        {
            **blank,
            "patient_key": key("P", number),
            "study_key": key("E", number),
            "dxa_row": number + 2,
            "status": "nearest",
            **{f"{level}_t_score": f"{score:f}" for level, score in scores.items()},
        }
        for number, scores in enumerate(exams)
    ]
    lowest = level_scores(typed(schemas.EXAMS, rows), "lowest")
    for text, scores in zip(lowest["L1"], exams, strict=True):
        assert (Decimal(text) if text else None) == (
            min(scores.values()) if len(scores) > 1 else None
        )
