from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from dsnet.cohort.spreadsheet import describe, read_table
from dsnet.errors import UserError


def written(folder: Path, content: bytes) -> Path:
    path = folder / "made.csv"
    path.write_bytes(content)
    return path


def test_rows_are_counted_as_a_spreadsheet_shows_them(tmp_path: Path) -> None:
    path = written(tmp_path, b'\xef\xbb\xbf id , b\r\n 007 ,x\r\n\r\n,\r\n"8\n9","y,z"\r\n10\r\n')
    rows = read_table(path, ["id", "b"])
    assert [(row.number, row.cells) for row in rows] == [
        (2, {"id": "007", "b": "x"}),
        (5, {"id": "8\n9", "b": "y,z"}),
        (6, {"id": "10", "b": ""}),
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "made.csv row 1: expected a column id"),
        (b"ID,b\n", "made.csv row 1: expected a column id"),
        (b"id,id\n1,2\n", "made.csv row 1: expected each column once"),
        (b"id,b\n1,2\n3,4,5\n", "made.csv row 3: expected 2 cells, as in the header, but found 3"),
        (b"id,b\n\xff\xfe,2\n", "made.csv: expected a readable CSV file in UTF-8"),
        (b'id,b\n"1,2\n', "made.csv: expected a readable CSV file in UTF-8"),
    ],
)
def test_a_broken_table_is_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        read_table(written(tmp_path, content), ["id"])
    assert str(caught.value).startswith(sentence)


def test_a_folder_in_place_of_a_table_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be opened"):
        read_table(tmp_path, ["id"])


def test_free_text_is_never_repeated() -> None:
    assert describe("Mustermann") == "text of 10 characters"
    assert describe("") == "a blank cell"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_tells_the_delimiter(tmp_path: Path, delimiter: str) -> None:
    path = written(tmp_path, f'id{delimiter}b\n007{delimiter}"1{delimiter}5"\n'.encode())
    assert read_table(path, ["id"])[0].cells == {"id": "007", "b": f"1{delimiter}5"}


def test_a_workbook_reads_as_its_reader_sees_it(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(["Patient  ID", "day", "T", "yes"])
    sheet.append([1234567, datetime(2020, 2, 29), -2.5, True])
    sheet["A2"].number_format = "00000000"
    sheet.append(["00012", "2020-03-01", -1, None])
    sheet.append([])
    sheet.append([12.0, None, None, " "])
    book.save(tmp_path / "dxa.xlsx")
    rows = read_table(tmp_path / "dxa.xlsx", ["patient_id"], {"patient id": "patient_id"})
    assert [(row.number, row.where, tuple(row.cells.values())) for row in rows] == [
        (2, "dxa.xlsx row 2", ("01234567", "2020-02-29", "-2.5", "yes")),
        (3, "dxa.xlsx row 3", ("00012", "2020-03-01", "-1", "")),
        (5, "dxa.xlsx row 5", ("12", "", "", "")),
    ]


def test_what_is_no_workbook_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "dxa.xlsx").write_bytes(b"patient_id,exam_date\n")
    with pytest.raises(UserError, match=r"dxa\.xlsx: expected a readable Excel workbook"):
        read_table(tmp_path / "dxa.xlsx", ["id"])
