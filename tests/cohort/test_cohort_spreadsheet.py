import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import openpyxl
import pytest

from dsnet.cohort.spreadsheet import describe, patient_ids, read_table
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
        (
            b"ids,b\n",
            "made.csv row 1: expected a column id, but found 2 columns, none of that name",
        ),
        (b"List\nID,b\n", "made.csv row 1: expected the names of the columns, but found a title"),
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
    rows = read_table(
        tmp_path / "dxa.xlsx",
        ["patient_id"],
        column_of=lambda name: name.replace("Patient  ID", "patient_id"),
    )
    assert [(row.number, row.where, tuple(row.cells.values())) for row in rows] == [
        (2, "dxa.xlsx row 2", ("01234567", "2020-02-29", "-2.5", "yes")),
        (3, "dxa.xlsx row 3", ("00012", "2020-03-01", "-1", "")),
        (5, "dxa.xlsx row 5", ("12", "", "", "")),
    ]


def test_what_is_no_workbook_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "dxa.xlsx").write_bytes(b"patient_id,exam_date\n")
    with pytest.raises(UserError, match=r"dxa\.xlsx: expected a readable Excel workbook"):
        read_table(tmp_path / "dxa.xlsx", ["id"])


@pytest.mark.parametrize(
    "part", ["[Content_Types].xml", "xl/workbook.xml", "xl/styles.xml", "xl/worksheets/sheet1.xml"]
)
@pytest.mark.parametrize("content", [b"<a><b></a>", b"", b"\xff\xfe\x00junk"])
def test_a_workbook_with_a_damaged_part_is_one_sentence(
    tmp_path: Path, part: str, content: bytes
) -> None:
    made, _ = book(["id"], ["007"])
    made.save(tmp_path / "whole.xlsx")
    with (
        zipfile.ZipFile(tmp_path / "whole.xlsx") as whole,
        zipfile.ZipFile(tmp_path / "dxa.xlsx", "w") as damaged,
    ):
        for name in whole.namelist():
            damaged.writestr(name, content if name == part else whole.read(name))
    with pytest.raises(UserError, match=r"dxa\.xlsx: expected a readable Excel workbook"):
        read_table(tmp_path / "dxa.xlsx", ["id"])


def test_a_machine_without_memory_is_no_damaged_workbook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(openpyxl, "load_workbook", full)
    (tmp_path / "dxa.xlsx").touch()
    with pytest.raises(MemoryError):
        read_table(tmp_path / "dxa.xlsx", ["id"])


def book(*rows: list[Any]) -> tuple[openpyxl.Workbook, Any]:
    made = openpyxl.Workbook()
    sheet = made.worksheets[0]
    for row in rows:
        sheet.append(row)
    return made, sheet


def cells(path: Path, *required: str, **params: Any) -> list[tuple[str, ...]]:
    return [tuple(row.cells.values()) for row in read_table(path, required, **params)]


@pytest.mark.parametrize(
    "content",
    [
        b"sep=;\nid;b\n7;1,5\n",
        b'"sep=;"\r\nid;b\r\n7;1,5\r\n',
        "id\tb\r\n7\t1,5\r\n".encode("utf-16"),
    ],
)
def test_excels_hint_and_unicode_text_are_read(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    assert cells(path, "id") == [("7", "1,5")]
    assert read_table(path, ["id"])[0].number == 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"id,t,b\n1,-2,8,\n", "row 2: expected 3 cells, as in the header, but found 4"),
        (b"id,t,b,\n1,-2,8,5\n", "row 2: expected named columns, but found a value in column 4"),
    ],
)
def test_unquoted_decimal_commas_stop(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read_table(written(tmp_path, content), ["id"])


def test_blank_ends_of_rows_are_no_cells(tmp_path: Path) -> None:
    assert cells(written(tmp_path, b"id,t,,\n1,-2,,\n,,,,,\n2\n"), "id") == [
        ("1", "-2", ""),
        ("2", "", ""),
    ]


def test_merged_cells_count_in_each_of_their_rows(tmp_path: Path) -> None:
    made, sheet = book(["id", "t", "note"], ["007", 1.5, "x"], [None, -2.0], ["8", 3])
    sheet.merge_cells("A2:A3")
    made.save(tmp_path / "dxa.xlsx")
    assert cells(tmp_path / "dxa.xlsx", "id") == [
        ("007", "1.5", "x"),
        ("007", "-2", ""),
        ("8", "3", ""),
    ]
    sheet.merge_cells("A4:B4")
    made.save(tmp_path / "dxa.xlsx")
    with pytest.raises(UserError, match=r"row 4: .* column id, but found cells merged over sev"):
        read_table(tmp_path / "dxa.xlsx", ["id"])


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("=1+1", "column t, but found a formula that was never computed"),
        ("#N/A", "column t, but found an error such as #N/A"),
        (110101199001011234, "column t, but found a number beyond 15 digits, whose last digits"),
    ],
)
def test_a_cell_without_its_value_stops_where_it_is_read(
    tmp_path: Path, value: Any, sentence: str
) -> None:
    made, _ = book(["id", "t"], ["1", 2], ["2", value])
    made.save(tmp_path / "dxa.xlsx")
    with pytest.raises(UserError, match=f"dxa.xlsx row 3: expected a value in {sentence}"):
        read_table(tmp_path / "dxa.xlsx", ["id"], ["t"])
    assert len(read_table(tmp_path / "dxa.xlsx", ["id"])) == 2


def test_a_formula_that_gave_an_empty_text_is_a_blank_cell(tmp_path: Path) -> None:
    made, _ = book(["id", "t"], ["1", '=IF(A2="9",1,"")'])
    made.save(tmp_path / "raw.xlsx")
    with ZipFile(tmp_path / "raw.xlsx") as raw, ZipFile(tmp_path / "dxa.xlsx", "w") as done:
        for name in raw.namelist():
            content = raw.read(name)
            if name.endswith("sheet1.xml"):
                content = content.replace(b'<c r="B2">', b'<c r="B2" t="str">')
            done.writestr(name, content)
    assert cells(tmp_path / "dxa.xlsx", "id", "t") == [("1", "")]


def test_numbers_have_the_digits_that_a_spreadsheet_shows(tmp_path: Path) -> None:
    noise, zero = -2.4499999999999997, 5.397605346934028e-79
    made, _ = book(["id", "t", "u", "v"], ["1", noise, 12345678901234.0, zero])
    made.save(tmp_path / "dxa.xlsx")
    (row,) = cells(tmp_path / "dxa.xlsx", "id")
    assert row[:3] == ("1", "-2.45", "12345678901234")
    assert float(row[3]) == pytest.approx(zero)
    assert "e" not in row[3]


def test_a_second_sheet_of_the_same_table_is_not_lost(tmp_path: Path) -> None:
    made, _ = book(["id", "t"], ["1", 2])
    made.create_sheet("notes").append(["made by hand"])
    made.save(tmp_path / "dxa.xlsx")
    assert len(read_table(tmp_path / "dxa.xlsx", ["id"])) == 1
    made.create_sheet("2020").append(["t", "id"])
    made.save(tmp_path / "dxa.xlsx")
    with pytest.raises(UserError, match="expected one sheet with the table, but found 2"):
        read_table(tmp_path / "dxa.xlsx", ["id"])


def ids(folder: Path, *names: str) -> list[str]:
    text = "patient_id,t\n" + "".join(f"{name},1\n" for name in names)
    return patient_ids(read_table(written(folder, text.encode()), ["patient_id"]), ["t"])


@pytest.mark.parametrize(
    ("names", "came"),
    [
        (["1", ""], "row 3: expected an ID beside the values of the row"),
        (["444325.0"], "found a number with a decimal point"),
        (["1.10101E+17"], "found a number in powers of ten, whose last digits are lost"),
        (
            ["110101199001011000", "1", "310101198505057000"],
            "row 2: .* found one of 2 whose digits after the fifteenth are all zero",
        ),
    ],
)
def test_ids_that_a_spreadsheet_changed_stop(tmp_path: Path, names: list[str], came: str) -> None:
    with pytest.raises(UserError, match=came) as caught:
        ids(tmp_path, *names)
    assert not any(name in str(caught.value) for name in names if len(name) > 4)


def test_an_id_that_became_a_date_stops(tmp_path: Path) -> None:
    made, _ = book(["patient_id", "t"], [datetime(2003, 2, 1), 1])
    made.save(tmp_path / "dxa.xlsx")
    rows = read_table(tmp_path / "dxa.xlsx", ["patient_id"])
    with pytest.raises(UserError, match="found a date"):
        patient_ids(rows, ["t"])


def test_other_ids_are_left_as_they_are(tmp_path: Path) -> None:
    names = ["00123", "12E5", "1.5.7", "110101199001011234", "110101199001011000", "A 0"]
    assert ids(tmp_path, *names) == names
