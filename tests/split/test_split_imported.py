from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dsnet.errors import UserError
from dsnet.split.imported import read_parts
from dsnet.split.patients import describe


@pytest.fixture
def patients(make_tables: Callable[..., Any]) -> pd.DataFrame:
    tables = make_tables((3, 3, 3), incomplete=1)
    return describe(tables.boxes, tables.files, 0).sort_index()


def lines(patients: pd.DataFrame) -> list[str]:
    """Return a sound file: complete patients alternate, the others train."""
    turn = iter(["validation", "test", "train"] * 3)
    return [f"{key},{next(turn) if row.complete else 'train'}" for key, row in patients.iterrows()]


def write(folder: Path, rows: list[str], *, header: str = "patient_key,subset") -> Path:
    path = folder / "parts.csv"
    path.write_bytes("\r\n".join([header, *rows, ""]).encode("utf-8-sig"))
    return path


def test_reads_what_a_spreadsheet_saves(tmp_path: Path, patients: pd.DataFrame) -> None:
    rows = lines(patients)
    parts = read_parts(write(tmp_path, [*rows[::-1], ",", ""]), patients)
    assert parts.sort_index().tolist() == [row.split(",")[1] for row in rows]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [*rows[:2], "", rows[2].replace(",", ",x"), *rows[3:]], r"row 5: .*one of"),
        (lambda rows: [*rows, rows[0]], "row 14: expected each patient once"),
        (lambda rows: [*rows, "4711-SMITH,train"], r"row 14: .* unknown one \(1 in all\)"),
        (lambda rows: rows[1:], r"each of the 12 patients .* none for 1 of them, such as P-"),
        (lambda rows: [row.replace("test", "train") for row in rows], "none in test"),
        (lambda rows: [row.split(",")[0] for row in rows], "row 2: expected one of"),
    ],
)
def test_bad_tables_are_refused_without_quoting_them(
    tmp_path: Path,
    patients: pd.DataFrame,
    change: Callable[[list[str]], list[str]],
    message: str,
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_parts(write(tmp_path, change(lines(patients))), patients)
    assert "SMITH" not in str(caught.value)


def test_test_patients_have_all_levels(tmp_path: Path, patients: pd.DataFrame) -> None:
    rows = lines(patients)
    lacking = int((~patients["complete"]).to_numpy().argmax())
    rows[lacking] = f"{patients.index[lacking]},test"
    with pytest.raises(UserError, match=rf"row {lacking + 2}: expected test patients with all"):
        read_parts(write(tmp_path, rows), patients)


def test_header_encoding_and_absence(tmp_path: Path, patients: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="expected the columns patient_key and subset"):
        read_parts(write(tmp_path, lines(patients), header="patient,subset"), patients)
    with pytest.raises(UserError, match="no file"):
        read_parts(tmp_path / "absent.csv", patients)
    (tmp_path / "utf16.csv").write_bytes("patient_key,subset\n".encode("utf-16"))
    with pytest.raises(UserError, match="CSV table in UTF-8"):
        read_parts(tmp_path / "utf16.csv", patients)
