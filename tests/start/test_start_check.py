"""Mistakes of a first day, each in a copy of a cohort without faults."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from pydicom import dcmread
from support.made_cohort import (
    PATIENTS,
    config_of,
    edit,
    make_cohort,
    read_here,
    write_table,
)

from dsnet.config.load import Config
from dsnet.start import check
from dsnet.start.check import Checked, check_cohort
from dsnet.start.faults import fault_lines, summary_lines

Mistake = Callable[[Path], object]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cohort(tmp_path_factory.mktemp("sound") / "cohort")


@pytest.fixture
def cohort(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(check, "read_all", read_here)
    return Path(shutil.copytree(sound, tmp_path / "cohort"))


def lines(checked: Checked, *, show_private: bool = False) -> str:
    return "\n".join(fault_lines(checked, show_private=show_private))


def test_a_cohort_without_faults_has_none(cohort: Path) -> None:
    checked = check_cohort(config_of(cohort))
    assert checked.faults == ()
    assert checked.included == {"normal": 3, "osteopenia": 3, "osteoporosis": 3}
    assert checked.images == {"train": 12, "validation": 12, "test": 12}
    assert "36 files below dicom/, 9 patients" in "\n".join(
        summary_lines(checked, config_of(cohort), None, pixels=False)
    )


def test_nothing_is_written(cohort: Path) -> None:
    before = sorted(cohort.parent.rglob("*"))
    check_cohort(config_of(cohort))
    assert sorted(cohort.parent.rglob("*")) == before


def without_zeros(cohort: Path) -> None:
    for patient in PATIENTS:
        edit(cohort / "dxa.csv", f"{patient},", f"{patient.lstrip('0')},")
    edit(cohort / "dxa.csv", f"{PATIENTS[0].lstrip('0')},", f"{PATIENTS[0]},")


def title_row(cohort: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(["DXA 2020"])
    for line in (cohort / "dxa.csv").read_text(encoding="utf-8").splitlines():
        sheet.append(line.split(","))
    sheet.merge_cells("A1:C1")
    book.save(cohort / "dxa.xlsx")
    (cohort / "dxa.csv").unlink()


def latin_1(cohort: Path) -> None:
    edit(cohort / "clinical.csv", ",70,", ",70 é,", 1)
    text = (cohort / "clinical.csv").read_text(encoding="utf-8")
    (cohort / "clinical.csv").write_bytes(text.encode("latin-1"))


def one_class(cohort: Path) -> None:
    rows = [f"{patient},2020-02-29,-0.5" for patient in PATIENTS]
    write_table(cohort / "dxa.csv", "patient_id,exam_date,L1-L4_t_score", rows)


def bad_review(cohort: Path) -> None:
    rows = ["patient,nobody,exclude,AB,2020-03-01", "patient,,maybe,AB,2020-03-01"]
    write_table(cohort / "review.csv", "scope,id,decision,reviewer,date", rows)


def edit_kernels(cohort: Path) -> None:
    for path in (cohort / "dicom").rglob("*.dcm"):
        content = path.read_bytes()
        assert b"BONEPLUS" in content
        path.write_bytes(content.replace(b"BONEPLUS", b"GHOST   "))


MISTAKES: dict[str, tuple[Mistake, list[str]]] = {
    "no folder": (
        shutil.rmtree,
        ["STOPS config key cohort: expected a cohort folder"],
    ),
    "DICOM/": (
        lambda cohort: (cohort / "dicom").rename(cohort / "DICOM"),
        ["STOPS cohort folder: expected a folder dicom/ in it, but found one whose name is nearly"],
    ),
    "annotation/": (
        lambda cohort: (cohort / "annotations").rename(cohort / "annotation"),
        [
            "STOPS cohort folder: expected dicom/, annotations/",
            "nearly called annotations/; rename it to annotations/",
            "without it every patient is excluded (no_annotation)",
            "STOPS ledger.csv: expected at least one included image",
        ],
    ),
    "annotations/ as dsnet init leaves it": (
        lambda cohort: (cohort / "annotations" / "bodies.json").unlink(),
        ["STOPS cohort folder: expected annotations/ with files, but found none; bring it"],
    ),
    "dexa.csv": (
        lambda cohort: (cohort / "dxa.csv").rename(cohort / "dexa.csv"),
        ["nearly called dxa.csv; rename it", "without it every patient is excluded (no_dxa)"],
    ),
    "dicoms/ beside dicom/": (
        lambda cohort: (cohort / "dicoms").mkdir(),
        ["LOSES cohort folder:", "an entry that is nearly called dicom/"],
    ),
    "clinical.ods": (
        lambda cohort: (cohort / "clinical.csv").rename(cohort / "clinical.ods"),
        ["STOPS cohort folder: expected one table clinical.csv or clinical.xlsx"],
    ),
    "another entry": (
        lambda cohort: (cohort / "Müller.docx").touch(),
        ["NOTE  cohort folder:", "an entry that is not read"],
    ),
    "no leading zeros": (
        without_zeros,
        [
            "LOSES dicom/: expected each patient under one ID in headers and tables, but found IDs "
            "that differ from another one by leading zeros alone: 8",
        ],
    ),
    "other dates": (
        lambda cohort: edit(cohort / "dxa.csv", "2020-02-29", "29.02.2020"),
        [
            "STOPS dxa.csv row 2: expected a date as YYYY-MM-DD",
            'set dxa.date_format: "%d.%m.%Y"',
            "(8 more like it: dxa.csv row 3",
        ],
    ),
    "a merged title row": (
        title_row,
        ["STOPS dxa.xlsx row 1: expected the names of the columns, but found a title"],
    ),
    "a column misspelt": (
        lambda cohort: edit(cohort / "dxa.csv", "exam_date", "exam_dat"),
        ["STOPS dxa.csv row 1: expected a column exam_date", "but column 2 nearly so"],
    ),
    "Latin-1": (latin_1, ["STOPS clinical.csv: expected a readable CSV file in UTF-8"]),
    "LWK1": (
        lambda cohort: edit(cohort / "annotations" / "bodies.json", '"L1"', '"LWK1"'),
        [
            "STOPS annotations[1] annotation row 1: expected a level",
            "but found the name LWK1",
            "annotations.level_names (such as {LWK1: L1})",
            "(8 more like it: annotations[1] annotation row 5",
        ],
    ),
    "one class": (one_class, ["STOPS labels.csv: expected at least 3 patients of each class"]),
    "a bad review": (
        bad_review,
        ["STOPS review.csv row 2: expected a patient of this cohort", "STOPS review.csv row 3:"],
    ),
    "another language": (
        lambda cohort: edit(cohort / "clinical.csv", ",no,", ",negado,"),
        ["STOPS clinical.csv row 2", "clinical.yes_words, no_words or unknown_words"],
    ),
    "unknown kernel": (
        edit_kernels,
        ["NOTE  dicom/: expected reconstruction kernels of the vendor table, but found K-"],
    ),
    "a box beyond its image": (
        lambda cohort: edit(
            cohort / "annotations" / "bodies.json", "[14, 14, 12, 12]", "[34, 14, 12, 12]", 2
        ),
        ["STOPS annotations[1] annotation row 1: expected a box inside its image of 40 x 40"],
    ),
    "no DICOM": (
        lambda cohort: (cohort / "dicom" / PATIENTS[0] / "0.dcm").write_bytes(b"no DICOM"),
        ["NOTE  dicom/: expected DICOM files that can be read, but found others (not_dicom: 1)"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_remedy(cohort: Path, name: str) -> None:
    mistake, expected = MISTAKES[name]
    mistake(cohort)
    checked = check_cohort(config_of(cohort))
    printed = lines(checked)
    for text in expected:
        assert text in printed
    assert checked.stops == ("STOPS" in printed)
    assert "Müller" not in printed
    without_kernels = re.sub("K-[0-9a-f]{16}", "", printed)  # a random name may hold such digits
    assert not any(patient.lstrip("0") in without_kernels for patient in PATIENTS)


def test_all_faults_are_listed_at_once_and_the_worst_come_first(cohort: Path) -> None:
    edit(cohort / "dxa.csv", "2020-02-29", "29.02.2020", 1)
    edit(cohort / "dxa.csv", "-1.7", "minus", 1)
    edit(cohort / "clinical.csv", ",no,", ",perhaps,", 1)
    bad_review(cohort)
    (cohort / "reviews.xlsx").touch()
    (cohort / "notes.docx").touch()
    weights = [line[:5] for line in lines(check_cohort(config_of(cohort))).splitlines()]
    # The last of them follows from the others: too few patients are left.
    assert weights == ["STOPS"] * 6 + ["LOSES", "NOTE ", "On a "]


def test_a_table_that_is_read_twice_shows_its_faults_once(cohort: Path) -> None:
    edit(cohort / "clinical.csv", ",no\n", ",no,no\n", 1)
    [fault] = [one for one in check_cohort(config_of(cohort)).faults if one.weight == "stop"]
    assert str(fault.error).startswith("clinical.csv row 2: expected 7 cells")
    assert fault.others == ()


def test_private_detail_is_shown_on_request_alone(cohort: Path) -> None:
    without_zeros(cohort)
    (cohort / "Müller.docx").touch()
    checked = check_cohort(config_of(cohort))
    assert "Müller" not in lines(checked)
    assert lines(checked).endswith("dsnet check --show-private adds IDs, names and paths.")
    shown = lines(checked, show_private=True)
    assert "--show-private" not in shown
    assert "Müller.docx" in shown
    assert "00277 ~ 277" in shown
    assert shown.count("277 ~") == 1


def test_words_of_the_config_are_answers(cohort: Path) -> None:
    edit(cohort / "clinical.csv", ",no,", ",negado,")
    config = config_of(cohort, clinical={"no_words": ["Negado"]})
    assert check_cohort(config).faults == ()


def test_headers_show_boxes_wider_than_the_grid_and_pixels_those_beyond_it(cohort: Path) -> None:
    # The boxes are 48 mm wide, and end 24 mm from the middle of image and body.
    small = config_of(cohort, slices={"size_px": 47, "pixel_mm": 1.0})
    assert (
        "STOPS config slices: expected boxes within the grid of 47 px of 1.0 mm, but found 36 of "
        "36 wider; set slices.size_px to 64"
    ) in lines(check_cohort(small))
    assert "expected boxes within the grid of 47 px" in lines(check_cohort(small, pixels=True))
    assert check_cohort(config_of(cohort, slices={"size_px": 48, "pixel_mm": 1.0})).faults == ()


def test_headers_show_boxes_far_from_the_middle_of_the_image(cohort: Path) -> None:
    path = cohort / "annotations" / "bodies.json"
    edit(path, "[14, 14, 12, 12]", "[22, 14, 12, 12]", 4)
    checked = check_cohort(config_of(cohort, slices={"size_px": 32, "pixel_mm": 3.0}))
    assert (
        "NOTE  config slices: expected boxes within the grid of 32 px of 3.0 mm, but found 4 of 36 "
        "beyond it, if the body is in the middle; set slices.size_px to 64"
    ) in lines(checked)
    assert not checked.stops


def test_images_without_pixel_spacing_say_nothing_of_the_grid(cohort: Path) -> None:
    for path in (cohort / "dicom").rglob("*.dcm"):
        dataset = dcmread(path)
        del dataset.PixelSpacing
        dataset.save_as(path)
    settings = {"criteria": {"bad_geometry": {"enabled": False}}}
    printed = lines(check_cohort(config_of(cohort, exclude=settings)))
    assert "config slices" not in printed


def test_a_cohort_of_other_results_stops(cohort: Path) -> None:
    config: Config = config_of(cohort)
    source = config.results / "cohort" / "source.json"
    source.parent.mkdir(parents=True)
    source.write_text("{}", encoding="utf-8")
    assert "STOPS source.json" in lines(check_cohort(config))
