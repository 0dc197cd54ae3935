from pathlib import Path

import pytest

from dsnet.errors import UserError
from dsnet.match.step import read_review

HEADER = "scope,id,decision,code,reason,reviewer,date\n"


def written(folder: Path, *rows: str) -> Path:
    path = folder / "review.csv"
    path.write_text(HEADER + "".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def test_decisions_keep_their_rows(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "Patient,007,KEEP,,,Dr X,2020-01-01",
        "file,x,,,a flag,,",
        "file,a/b.dcm,exclude,,,M. Li,2020-01-02",
    )
    decisions = [
        (d.row.number, d.reviewer, d.day, d.scope, d.target, d.keep) for d in read_review(path)
    ]
    assert decisions == [
        (2, "Dr X", "2020-01-01", "patient", "007", True),
        (4, "M. Li", "2020-01-02", "file", "a/b.dcm", False),
    ]


def test_no_table_is_no_decision(tmp_path: Path) -> None:
    assert read_review(tmp_path / "review.csv") == []


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("study,1,keep,,,,", "expected patient or series or file in column scope"),
        ("file,,keep,,,,", "expected the file in column id, but found a blank cell"),
        ("file,1,maybe,,,,", "expected keep or exclude in column decision"),
        ("file,1,,,,AB,2020-01-01", "expected keep or exclude in column decision"),
        ("file,1,keep,,,,2020-01-01", "expected initials or a short name"),
        ("file,1,keep,,,4711 AB,2020-01-01", "expected initials or a short name"),
        ("file,1,keep,,,AB,1.1.20", "expected the day of the decision as YYYY-MM-DD"),
    ],
)
def test_what_is_no_decision_names_its_row(tmp_path: Path, row: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        read_review(written(tmp_path, row))
    assert str(caught.value).startswith(f"review.csv row 2: {sentence}")
