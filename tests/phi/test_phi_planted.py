"""One plant for each container, encoding and form: every one is to be found."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.planted_phi import CHARSETS, ENCODERS, WRITERS, in_charset, make_project, search

from dsnet.errors import UserError

VALUES = [
    ("Braskacker^Eluned", "PatientName", "name"),
    ("Größlmüller^Jörg", "PatientName", "name"),
    ("Li^Bo", "PatientName", "name"),
    ("Xue^Wu", "PatientName", "name"),
    ("Wang^Xiaoming=王^小明=", "PatientName", "name"),
    ("欧阳^娜", "PatientName", "name"),
    ("李娜", "ReferringPhysicianName", "name"),
    ("Kim^Cheolsu=金^哲洙=김^철수", "PatientName", "name"),
    ("Yamada^Tarou=山田^太郎=ヤマダ^タロウ", "PatientName", "name"),
    ("Щукина^Зинаида", "PatientName", "name"),
    ("0010271831", "PatientID", "text"),
    ("506445", "PatientID", "text"),
    ("KH77Q031", "AccessionNumber", "text"),
    ("1.2.826.0.1.3680043.8.498.40337123", "StudyInstanceUID", "uid"),
    ("1944-07-15", "PatientBirthDate", "date"),
    ("Skerrywold Infirmary", "InstitutionName", "text"),
    ("北京第三医院", "InstitutionName", "text"),
]

ANYWHERE = {
    "name": "Braskacker^Eluned",
    "name with a comma": "ELUNED, Braskacker",
    "family name": "braskacker",
    "name with umlauts": "Größlmüller",
    "name without umlauts": "GROSSLMULLER",
    "name with ae, oe, ue": "Groesslmueller",
    "two names of three letters": "Li^Bo Li Bo",
    "Chinese name": "王^小明",
    "Chinese name in a sentence": "患者王小明的检查",
    "Chinese name of two letters": "李娜",
    "Chinese name, family of two": "欧阳娜",
    "Korean name": "김철수",
    "Japanese name": "山田 太郎",
    "Japanese name in kana": "ヤマダ タロウ",
    "Russian name": "ЩУКИНА",
    "ID": "0010271831",
    "ID without zeros": "10271831",
    "ID of letters and digits": "KH77Q031",
    "UID": "1.2.826.0.1.3680043.8.498.40337123",
    "date": "1944-07-15",
    "date, compact": "19440715",
    "date, day first": "15.07.1944",
    "date, day first and compact": "15071944",
    "date, month first": "07/15/1944",
    "date with a month's name": "15-JUL-1944",
    "date in Chinese": "1944年7月15日",
    "date in Korean": "1944년 7월 15일",
    "date of a Japanese era": "昭和19年7月15日",
    "date in German": "15. Juli 1944",
    "institution": "SKERRYWOLD_INFIRMARY",
    "Chinese institution": "在北京第三医院",
}
"""Forms of the values that are found within any text."""

CELLS = {"short name": "Wu", "short name in capitals": "XUE"}
"""Forms that are found as a whole cell, string or DICOM value."""

CELL_FILES = {
    "table.csv": "row;note\n1;{}\n2;\n",
    "facts.json": '{{"a": [{{"b": "{}"}}]}}',
    "notes.yaml": "row: 1\nnote: {}\n",
    "notes.tsv": "row\tnote\n1\t{}\n",
}

NAMES = {
    "ID glued to letters": "scan506445b.png",
    "ID glued before a suffix": "MRN0010271831x.txt",
    "name glued to letters": "ctBraskacker2.log",
    "date glued to letters": "v19440715b.txt",
    "short name": "Li.csv",
    "Chinese name": "脊柱王小明.txt",
    "letters and digits glued": "pKH77Q031z/index.json",
    "folder": "Braskacker_Eluned/log.txt",
}
"""Files whose names hold a value."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with a cohort's private values and empty results."""
    rows = [(*value, f"P-{number:016x}") for number, value in enumerate(VALUES)]
    make_project(tmp_path, rows)
    return tmp_path


def listed(project: Path, kind: str) -> set[str]:
    """Search, and return the files that the report lists as hits or as suspects."""
    with suppress(UserError):
        search(project)
    report = json.loads((project / "results" / "phi_check.json").read_text(encoding="utf-8"))
    return {row["path"].removeprefix("results/") for row in report[kind]}


def plants(text: str) -> Iterator[tuple[str, bytes | None]]:
    """Yield the name of each file that can hold the text, and its content in a charset."""
    for name in (*WRITERS, *ENCODERS):
        yield name, None
    for charset in CHARSETS:
        yield from in_charset(charset, text).items()


LATIN_1 = {"packed.png", "latin1.txt"}
"""Files that can hold no other letters."""

SHORT = ("two names of three letters", "Chinese name of two letters")
"""Forms that chance makes among raw bytes, where they are suspects."""


@pytest.mark.parametrize("form", ANYWHERE)
def test_every_form_is_found_in_every_container_and_encoding(project: Path, form: str) -> None:
    text, planted = ANYWHERE[form], set()
    for name, content in plants(text):
        path = project / "results" / name
        if content is not None:
            path.write_bytes(content)
        elif name in LATIN_1 and any(ord(letter) > 255 for letter in text):
            continue
        else:
            (WRITERS | ENCODERS)[name](path, text)
        planted.add(name)
    assert len(planted) >= 85
    missed = planted - listed(project, "hits")
    if form in SHORT:
        assert all(name.endswith(".bin") for name in missed)
        missed -= listed(project, "suspects")
    assert missed == set()


@pytest.mark.parametrize(
    ("charset", "form"),
    [
        ("gb18030", "Chinese name"),
        ("gb18030", "Chinese name in a sentence"),
        ("gb18030", "date in Chinese"),
        ("big5", "Japanese name"),
        ("shift_jis", "Japanese name"),
        ("shift_jis", "Japanese name in kana"),
        ("shift_jis", "date of a Japanese era"),
        ("euc_jp", "Japanese name"),
        ("euc_kr", "Korean name"),
        ("euc_kr", "date in Korean"),
        ("cp1251", "Russian name"),
        ("koi8-r", "Russian name"),
        ("iso8859-5", "Russian name"),
        ("cp1252", "name with umlauts"),
        ("cp1250", "name with umlauts"),
    ],
)
def test_names_in_the_encodings_of_a_language(project: Path, charset: str, form: str) -> None:
    files = in_charset(charset, ANYWHERE[form])
    for name, content in files.items():
        (project / "results" / name).write_bytes(content)
    assert set(files) <= listed(project, "hits")


@pytest.mark.parametrize("form", CELLS)
def test_short_values_are_found_as_whole_cells(project: Path, form: str) -> None:
    for name, template in CELL_FILES.items():
        (project / "results" / name).write_text(template.format(CELLS[form]), encoding="utf-8")
    writers = ("cells.parquet", "nested.parquet", "feather.arrow", "text.npy", "state.pkl")
    made = (*writers, "nested.dcm", "sequence.dcm", "book.xlsx")
    for name in made:
        WRITERS[name](project / "results" / name, CELLS[form])
    assert {*CELL_FILES, *made} <= listed(project, "hits")


@pytest.mark.parametrize("text", ["<td>Wu</td>", "name: Xue\n", "1;XUE;2\n", "[Wu, 1]"])
def test_short_names_are_found_as_fields_of_a_text(project: Path, text: str) -> None:
    (project / "results" / "log").write_text(text)
    assert listed(project, "hits") == {"log"}


def test_a_short_name_is_a_hit_as_a_cell_though_html_has_that_word(project: Path) -> None:
    (project / "results" / "table.csv").write_text("row;note\n1;Li\n2;\n")
    assert listed(project, "hits") == {"table.csv"}


def test_a_short_name_that_is_a_word_of_the_program_is_a_suspect(project: Path) -> None:
    (project / "results" / "list.html").write_text("<ul><li>1</li></ul>")
    assert listed(project, "hits") == set()
    assert listed(project, "suspects") == {"list.html"}


@pytest.mark.parametrize("form", NAMES)
def test_values_glued_to_letters_in_file_names(project: Path, form: str) -> None:
    path = project / "results" / NAMES[form]
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    assert listed(project, "hits") == {"a path that is itself identifying"}


def test_there_are_more_than_two_thousand_plants() -> None:
    files = len(WRITERS) + len(ENCODERS) + 2 * len(CHARSETS)
    assert files * len(ANYWHERE) > 2000
