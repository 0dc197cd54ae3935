from typing import Any

import pandas as pd
import pytest
from support.made_index import UNREADABLE, cohort, key

from dsnet import schemas
from dsnet.cohort.spreadsheet import Row
from dsnet.errors import UserError
from dsnet.match.step import Decision, decisions_table

ROWS: list[dict[str, Any]] = [{}, {"uid": "1.2.7"}, {"patient": 2, "series": 5}, {"uid": "1.2.7"}]


def decision(number: int, scope: str, target: str, *, keep: bool = False) -> Decision:
    return Decision(Row("review.csv", number, {}), scope, target, keep, "AB", "2020-03-01")


def table(*decisions: Decision, rows: list[dict[str, Any]] = ROWS) -> pd.DataFrame:
    return schemas.DECISIONS.validate(decisions_table(*cohort(*rows), decisions))


@pytest.mark.parametrize(
    ("scope", "target", "names"),
    [
        ("patient", key("P", 2), [key("P", 2), "002"]),
        ("series", key("S", 5), [key("S", 5), "8.5"]),
        (
            "file",
            key("F", 2),
            [
                key("F", 2),
                key("I", 2),
                "1.2.2",
                "folder/00002.dcm",
                "dicom\\folder\\00002.dcm",
                "./dicom/folder/00002.dcm",
            ],
        ),
    ],
)
def test_a_reader_names_by_pseudonym_or_own_name(scope: str, target: str, names: list[str]) -> None:
    for name in names:
        assert table(decision(7, scope, name)).to_dict("records") == [
            {
                "scope": scope,
                "key": target,
                "decision": "exclude",
                "row": 7,
                "reviewer": "AB",
                "date": "2020-03-01",
            }
        ]


def test_an_image_means_all_its_copies_and_a_path_one() -> None:
    copies = [key("F", 1), key("F", 3)]
    assert list(table(decision(2, "file", "1.2.7"))["key"]) == copies
    assert list(table(decision(2, "file", key("I", 7)))["key"]) == copies
    assert list(table(decision(2, "file", "folder/00003.dcm"))["key"]) == copies[1:]


def test_a_series_uid_of_two_patients_means_both() -> None:
    index, identities = cohort(*ROWS)
    identities["series_instance_uid"] = "8.1"
    decisions = decisions_table(index, identities, [decision(2, "series", "8.1", keep=True)])
    assert list(decisions["key"]) == [key("S", 1), key("S", 5)]
    assert set(decisions["decision"]) == {"keep"}


def test_decisions_come_by_scope_and_then_by_row() -> None:
    decisions = table(
        decision(2, "file", key("F", 0), keep=True),
        decision(3, "patient", "002"),
        decision(4, "file", key("F", 2)),
        decision(5, "patient", "001", keep=True),
        decision(6, "series", "8.5"),
    )
    assert list(decisions["scope"]) == ["patient", "patient", "series", "file", "file"]
    assert list(decisions["row"]) == [3, 5, 6, 2, 4]


def test_of_rows_that_agree_the_last_is_named() -> None:
    decisions = table(
        decision(2, "patient", "001"),
        decision(3, "patient", "002"),
        decision(4, "patient", key("P", 1)),
    )
    assert list(decisions["key"]) == [key("P", 2), key("P", 1)]
    assert list(decisions["row"]) == [3, 4]


def test_contradictions_name_both_rows() -> None:
    with pytest.raises(
        UserError, match=r"review\.csv rows 2 and 4: expected one decision on a patient"
    ):
        table(decision(2, "patient", "001", keep=True), decision(4, "patient", key("P", 1)))
    with pytest.raises(UserError, match=r"rows 2 and 3: expected one decision on a file"):
        table(decision(2, "file", "1.2.7"), decision(3, "file", key("F", 3), keep=True))


def test_scopes_may_disagree() -> None:
    decisions = table(decision(2, "patient", "001", keep=True), decision(4, "file", key("F", 0)))
    assert list(decisions["decision"]) == ["keep", "exclude"]


@pytest.mark.parametrize(
    ("scope", "name"), [("patient", "01"), ("series", "001"), ("file", "00002.dcm")]
)
def test_a_decision_on_nothing_names_its_row_and_not_the_id(scope: str, name: str) -> None:
    with pytest.raises(UserError) as caught:
        table(decision(9, scope, name, keep=True))
    assert str(caught.value).startswith(f"review.csv row 9: expected a {scope} of this cohort")
    assert f"text of {len(name)} characters" in str(caught.value)
    assert f"'{name}'" not in str(caught.value)
    assert caught.value.private == name


def test_a_file_without_a_header_goes_by_its_path_alone() -> None:
    rows = [{**UNREADABLE, "path": "broken.dcm"}, {"patient_id": ""}]
    assert list(table(decision(2, "file", "broken.dcm"), rows=rows)["key"]) == [key("F", 0)]
    for scope in ("patient", "series"):
        with pytest.raises(UserError, match="fits none"):
            table(decision(2, scope, ""), rows=rows)


def test_without_a_decision_the_table_is_empty() -> None:
    assert table().empty
