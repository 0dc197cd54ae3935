import stat
from pathlib import Path

import pandas as pd
import pytest
from support.made_index import UNREADABLE, cohort, key, patients, typed

from dsnet import schemas
from dsnet.errors import UserError


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("patient_key", "0012345678"),
        ("patient_key", "P-12345678"),
        ("patient_key", key("S", 1)),
        ("patient_key", key("P", 1) + "\n"),
        ("patient_key", "Thornabee^Greta " + key("P", 1)),
        ("study_key", "1.2.840.113619"),
        ("image_key", key("I", 1) + ";"),
        ("pixel_hash", "abc"),
        ("fault", "KeyError"),
    ],
)
def test_a_column_that_may_be_blank_is_checked_where_it_is_not(
    tmp_path: Path, column: str, text: str
) -> None:
    index, _ = cohort({}, UNREADABLE)
    schemas.INDEX.validate(index)
    path = tmp_path / "index.parquet"
    with pytest.raises(UserError) as caught:
        schemas.write(schemas.INDEX, index.assign(**{column: [text, ""]}), path)
    assert text.strip() not in str(caught.value)
    assert not path.exists()


@pytest.mark.parametrize("blank", ["image_key", "patient_key", "series_key", "study_key"])
def test_a_blank_key_is_legal(blank: str) -> None:
    index, _ = cohort({}, {})
    schemas.INDEX.validate(index.assign(**{blank: ["", index[blank][1]]}))


def test_a_hospital_id_in_a_ledger_is_refused(tmp_path: Path) -> None:
    row = dict.fromkeys(schemas.LEDGER.columns, "")
    row |= {"file_key": key("F", 1), "status": "included", "decided_by": "rule"}
    path = tmp_path / "ledger.csv"
    schemas.write(schemas.LEDGER, pd.DataFrame([row]), path)
    path.write_text(path.read_text().replace(f"{key('F', 1)},,,", f"{key('F', 1)},,0012345,"))
    with pytest.raises(UserError, match=r"ledger\.csv: expected rows that pass") as caught:
        schemas.read(schemas.LEDGER, path)
    assert "0012345" not in str(caught.value)


def test_a_column_without_a_value_keeps_its_type(tmp_path: Path) -> None:
    table = patients({"1": {}, "2": {}})
    schemas.write(schemas.PATIENTS, table, tmp_path / "patients.csv")
    again = schemas.read(schemas.PATIENTS, tmp_path / "patients.csv")
    pd.testing.assert_frame_equal(again, table)


def test_a_table_without_a_row_keeps_its_types(tmp_path: Path) -> None:
    for schema in (schemas.PATIENTS, schemas.ANNOTATIONS, schemas.EXAMS, schemas.DECISIONS):
        schemas.write(schema, typed(schema, []), tmp_path / "table.csv")
        again = schemas.read(schema, tmp_path / "table.csv")
        assert again.empty
        assert list(again.columns) == list(schema.columns)


def test_a_cell_of_another_type_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    schemas.write(schemas.PATIENTS, patients({"1": {"near_misses": 3}}), path)
    path.write_text(path.read_text().replace(",3\n", ",Thornabee\n"))
    with pytest.raises(UserError, match=r"patients\.csv: .* but found something else") as caught:
        schemas.read(schemas.PATIENTS, path)
    assert "Thornabee" not in str(caught.value)


def test_a_table_may_be_written_in_parts(tmp_path: Path) -> None:
    rows, _ = cohort({}, UNREADABLE, {})
    each = (rows.iloc[start : start + 1] for start in range(len(rows)))
    write_parts(tmp_path / "parts.parquet", *each)
    schemas.write(schemas.INDEX, rows, tmp_path / "whole.parquet")
    parts, whole = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("parts", "whole"))
    pd.testing.assert_frame_equal(parts, whole)
    assert stat.S_IMODE((tmp_path / "parts.parquet").stat().st_mode) == 0o600


def write_parts(path: Path, *parts: pd.DataFrame) -> None:
    with schemas.writing(schemas.INDEX, path, mode=0o600) as add:
        for part in parts:
            add(part)


def test_a_part_that_is_wrong_leaves_no_table(tmp_path: Path) -> None:
    rows, _ = cohort({}, {})
    path = tmp_path / "index.parquet"
    with pytest.raises(UserError):
        write_parts(path, rows, rows.assign(patient_key="0012345678"))
    assert not list(tmp_path.iterdir())
