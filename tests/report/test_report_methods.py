import shutil
from pathlib import Path

import pytest
from support.made_results import Made

from dsnet.evaluate import subgroups
from dsnet.files import write_text
from dsnet.report import methods
from dsnet.report.counts import read_tables
from dsnet.report.measured import column_meaning, read_result_tables
from dsnet.report.methods import checklist
from dsnet.results import Results
from dsnet.tables import clinical, other_data

SIZE = {
    "method": "Faster R-CNN+ResNet50",
    "figure": "patient_sensitivity_osteoporosis",
    "half_width": "22.1",
    "needed": "246",
    "test_patients_needed": "738",
    "test_patients": "19",
}
RILEY = {**SIZE, "figure": "c_statistic", "half_width": "", "needed": "152"}
GROUP = {
    "method": "resnet50/ds",
    "backbone": "resnet50",
    "attention": "ds",
    "trait": "sex",
    "group": "female",
    "group_patients": "9",
    "map": "80.1",
    "map_low": "70.0",
    "map_high": "88.0",
}
NORTH = {
    "method": "Faster R-CNN+ResNet50+DS",
    "cohort": "north",
    "test_patients": "31",
    "map": "60.2",
    "map_low": "51.0",
    "map_high": "70.0",
    "map_difference": "-20.0",
    "map_difference_low": "-33.0",
    "map_difference_high": "-7.0",
}
NET = {
    "method": "Faster R-CNN+ResNet50",
    "threshold": "20.0",
    "net_benefit": "29.0",
    "net_benefit_low": "20.0",
    "net_benefit_high": "31.0",
    "net_benefit_all": "17.1",
    "prevalence": "33.3",
}
R = {"cohort": "internal", "test_patients": "19", "r": "0.71", "bias": "0.1", "lower_limit": "-2.0"}
TABLES = {
    "sample_size": (clinical.SAMPLE_SIZE, [SIZE, RILEY]),
    "decision": (clinical.DECISION, [NET]),
    "agreement": (clinical.AGREEMENT, [{**R, "upper_limit": "2.2"}]),
    "subgroups": (
        subgroups.COLUMNS,
        [GROUP, {**GROUP, "group": "male", "group_patients": "hidden", "map": ""}],
    ),
    "external": (other_data.EXTERNAL, [{**NORTH, "cohort": "internal"}, NORTH]),
}


@pytest.fixture
def whole(made: Made, tmp_path: Path) -> Results:
    """Return results in which each of the tables has a row or two."""
    shutil.copytree(made.config.results, tmp_path / "results")
    for name, (columns, rows) in TABLES.items():
        lines = [",".join(row.get(head, "") for head in columns) for row in rows]
        text = "\n".join([",".join(columns), *lines]) + "\n"
        write_text(tmp_path / "results" / f"{name}.csv", text)
    return Results(tmp_path / "results")


def test_sentences_hold_the_figures_with_their_intervals(whole: Results) -> None:
    reported, _ = read_result_tables(whole)
    size = methods.sample_size(reported)
    assert "sensitivity osteoporosis 22.1 points (5 points: 738 test patients)" in size
    assert "the C statistic 152" in size
    groups = methods.subgroups(reported)
    assert "sex female 80.1 (70.0 to 88.0), n = 9" in groups
    assert " male" not in groups
    assert methods.subgroups(reported, ("sex", "age")) == groups
    assert "north (31 patients): map 60.2 (51.0 to 70.0) %" in methods.external(reported)
    words = methods.clinical(reported)
    assert "29.0 (20.0 to 31.0) per 100 patients (DXA for all 17.1" in words
    assert "19 patients: r 0.71" in words


def test_the_paragraph_says_what_was_done_and_that_data_are_synthetic(
    made: Made, whole: Results
) -> None:
    tables = read_tables(whole)
    reported, _ = read_result_tables(whole)
    text = methods.paragraph(tables, made.config, whole.split_proof, reported)
    assert ("Data are synthetic" in text) == tables.synthetic
    for words in (
        "Patients were the unit of all intervals",
        "Figures by sex are exploratory",
        "north (31 patients) were tested with the same weights",
        "-20.0 (-33.0 to -7.0) points to internal",
    ):
        assert words in text
    assert "\n" not in text
    assert methods.paragraph(tables, made.config, None, reported) == ""


def test_checklist_items_are_filled(made: Made, whole: Results, tmp_path: Path) -> None:
    path = tmp_path / "checklist.md"
    checklist(config=made.config, results=whole.folder, checklist=path)
    text = path.read_text(encoding="utf-8")
    items = {line.split("|")[1].strip(): line for line in text.splitlines() if line[:3] == "| 3"}
    assert "north (31 patients)" in items["33"]
    assert "TO WRITE" not in items["33"]
    assert "by group of test patients" in items["30"]
    assert "Net benefit" in items["38"]
    assert "A paragraph for the methods section" in text


def test_without_tables_nothing_is_claimed(made: Made) -> None:
    read = Results(made.config.results)
    reported, _ = read_result_tables(read)
    for words in (
        methods.sample_size,
        methods.subgroups,
        methods.external,
        methods.clinical,
    ):
        assert words(reported) == ""
    text = methods.paragraph(read_tables(read), made.config, read.split_proof, reported)
    assert "There was no test on patients of another hospital." in text


def test_new_columns_have_meanings() -> None:
    bare = {"method", "value", "low", "high", "r"}
    for columns in (clinical.DECISION, clinical.SAMPLE_SIZE, clinical.AGREEMENT):
        assert [name for name in columns if not column_meaning(name) and name not in bare] == []
