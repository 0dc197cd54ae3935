from typing import Any

import numpy as np
import pandas as pd
import pytest
from dsnet.exclude.override import override
from support.made_index import UNREADABLE, boxes, evidence, key

from dsnet.cohort.review import Decision
from dsnet.cohort.spreadsheet import Row
from dsnet.config.cohort import Exclude
from dsnet.errors import UserError
from dsnet.exclude.ledger import exclusions_table, ledger_table
from dsnet.exclude.verdict import Verdict, judge


def decision(number: int, scope: str, target: str, *, keep: bool) -> Decision:
    return Decision(Row("review.csv", number, {}), scope, target, keep, "AB", "2020-03-01")


def judged(files: pd.DataFrame, *decisions: Decision) -> Verdict:
    return judge(files, Exclude(), override(files, decisions))


ROWS: list[dict[str, Any]] = [{}, {"contrast": "present"}, {"patient": 2, "series": 5}]


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("patient", [key("P", 2), "002"]),
        ("series", [key("S", 5), "8.5"]),
        (
            "file",
            [key("F", 2), key("I", 2), "1.2.2", "folder/00002.dcm", "dicom\\folder\\00002.dcm"],
        ),
    ],
)
def test_a_reader_excludes_by_pseudonym_or_own_name(scope: str, names: list[str]) -> None:
    files = evidence(*ROWS)
    for name in names:
        found = judged(files, decision(7, scope, name, keep=False))
        assert list(found.criterion) == ["", "contrast_enhanced", "review"]
        row = ledger_table(files, found, Exclude()).iloc[2]
        by = "review row 7 (AB, 2020-03-01)"
        assert (row.code, row.decided_by, row.all_criteria) == ("R01", by, "review")
        assert list(exclusions_table(files, found)["criterion"]) == ["", "review"]


def test_a_reader_stands_above_the_rules() -> None:
    files = evidence(*ROWS)
    found = judged(files, decision(2, "patient", "001", keep=False))
    assert list(found.criterion) == ["review", "review", ""]
    assert ledger_table(files, found, Exclude())["all_criteria"][1] == "review;contrast_enhanced"


def test_a_reader_keeps_what_rules_exclude() -> None:
    files = evidence(*ROWS)
    found = judged(files, decision(2, "patient", "001", keep=True))
    assert found.included.all()
    ledger = ledger_table(files, found, Exclude())
    assert list(ledger["decided_by"]) == ["rule", "review row 2 (AB, 2020-03-01)", "rule"]
    assert list(ledger["all_criteria"]) == ["", "contrast_enhanced", ""]


def test_a_reader_cannot_keep_what_has_no_image_or_no_label() -> None:
    files = evidence(
        {"decoded": False, "fault": "cut_pixels"},
        {},
        {"uid": "1.2.1"},
        UNREADABLE,
        placed=boxes((1, "L1"), (2, "L1")),
    )
    keeps = [decision(n, "file", key("F", n), keep=True) for n in range(4)]
    assert list(judged(files, *keeps).criterion) == [
        "undecodable_pixels",
        "",
        "duplicate",
        "unreadable",
    ]


def test_a_narrower_decision_overrides_a_wider_one() -> None:
    files = evidence(*ROWS)
    told = override(
        files,
        [
            decision(2, "file", key("F", 0), keep=False),
            decision(3, "patient", "001", keep=True),
            decision(4, "series", key("S", 5), keep=False),
            decision(5, "patient", "002", keep=True),
        ],
    )
    assert list(told.keeps) == [False, True, False]
    assert list(told.excludes) == [True, False, True]
    assert [text.split()[2] for text in told.told] == ["2", "3", "4"]


def test_contradictions_name_both_rows() -> None:
    files = evidence(*ROWS)
    with pytest.raises(
        UserError, match=r"review\.csv rows 2 and 4: expected one decision on a pat"
    ):
        override(
            files,
            [
                decision(2, "patient", "001", keep=True),
                decision(4, "patient", key("P", 1), keep=False),
            ],
        )


def test_a_decision_on_nothing_names_its_row_and_not_the_id() -> None:
    with pytest.raises(UserError) as caught:
        override(evidence(*ROWS), [decision(9, "patient", "01", keep=True)])
    assert str(caught.value).startswith("review.csv row 9: expected a patient of this cohort")
    assert "'01'" not in str(caught.value)
    assert caught.value.private == "01"


def test_no_decision_changes_nothing() -> None:
    told = override(evidence(*ROWS), [])
    assert not np.any(told.keeps | told.excludes | (told.told != ""))
