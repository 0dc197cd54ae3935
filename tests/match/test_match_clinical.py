from pathlib import Path

import openpyxl
import pytest

from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Clinical
from dsnet.errors import UserError
from dsnet.match.patients import HISTORIES, read_clinical

HEADER = "patient_id,sex,fracture_history,spine_surgery,tumour,bone_hyperplasia\n"


def written(folder: Path, *rows: str) -> Path:
    path = folder / "clinical.csv"
    path.write_text(HEADER + "".join(row + "\r\n" for row in rows), encoding="utf-8-sig")
    return path


def test_answers_are_read_in_any_case(tmp_path: Path) -> None:
    histories = read_clinical(written(tmp_path, "007,F,YES,n,,False", "8,M,1,0,true,No"))
    assert [histories["007"][name] for name in HISTORIES] == [True, False, None, False]
    assert [histories["8"][name] for name in HISTORIES] == [True, False, True, False]
    assert set(histories) == {"007", "8"}


def test_no_table_is_no_history(tmp_path: Path) -> None:
    assert read_clinical(tmp_path / "clinical.csv") == {}


def test_another_answer_names_row_and_column(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_clinical(written(tmp_path, "1,F,,,,", "2,F,,L2 2015,,"))
    assert str(caught.value).startswith("clinical.csv row 3: expected yes, no or nothing in column")
    assert "2015" not in str(caught.value)


def test_rows_that_disagree_are_both_named(tmp_path: Path) -> None:
    assert len(read_clinical(written(tmp_path, "1,F,no,,,", "1,F,NO,,,"))) == 1
    with pytest.raises(UserError, match=r"clinical\.csv rows 2 and 4: expected one history"):
        read_clinical(written(tmp_path, "1,F,no,,,", "2,F,,,,", "1,F,yes,,,"))


def test_a_history_without_a_patient_stops(tmp_path: Path) -> None:
    assert set(read_clinical(written(tmp_path, "1,F,no,,,", ",,,,,"))) == {"1"}
    with pytest.raises(UserError, match=r"clinical\.csv row 3: expected an ID beside the values"):
        read_clinical(written(tmp_path, "1,F,no,,,", ",,yes,,,"))


def test_a_workbook_is_read_like_a_csv(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(HEADER.strip().split(","))
    sheet.append(["007", "F", True, "no", None, 0])
    book.save(tmp_path / "clinical.xlsx")
    history = read_clinical(CohortFolder(tmp_path).clinical)["007"]
    assert [history[name] for name in HISTORIES] == [True, False, None, False]


def test_answers_are_read_in_the_languages_of_hospitals(tmp_path: Path) -> None:
    rows = ["1,F,ja,Nein,unbekannt,", "2,F,OUI,non,?,n/a", "3,F,是,否,不详,无", "4,F,Sí,no,да,нет"]
    histories = read_clinical(written(tmp_path, *rows))
    answers = [[histories[str(n)][name] for name in HISTORIES] for n in range(1, 5)]
    assert answers == [
        [True, False, None, None],
        [True, False, None, None],
        [True, False, None, False],
        [True, False, True, False],
    ]


def test_words_of_the_config_come_first(tmp_path: Path) -> None:
    words = Clinical(yes_words=("Presente",), unknown_words=("no",))
    history = read_clinical(written(tmp_path, "1,F,presente,no,,nein"), words)["1"]
    assert [history[name] for name in HISTORIES] == [True, None, None, False]


def test_headers_count_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "clinical.csv"
    path.write_text(HEADER.upper().replace("_ID", "_Id ") + "1,F,yes,no,,\n", encoding="utf-8")
    assert read_clinical(path)["1"]["fracture_history"] is True
