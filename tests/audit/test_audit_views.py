"""The audit reads what the exclusions wrote; here, two patients and a file of nobody."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from dsnet.pseudonym import open_vault
from rich.console import Console, RenderableType

from dsnet import schemas
from dsnet.audit import rows
from dsnet.audit.criteria import criteria_view
from dsnet.audit.flow import flow_rows, read_flow
from dsnet.audit.rows import Private, Row, criterion_rows, ledger_rows, patient_rows
from dsnet.audit.view import (
    Answer,
    criterion_view,
    file_view,
    flow_view,
    overview,
    patient_view,
)
from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Exclude
from dsnet.errors import UserError
from dsnet.files import write_json


def key(letter: str, number: int) -> str:
    return f"{letter}-{number:016d}"


LEDGER = [
    (0, 1, "included", "", "", "cement: dense piece of 40 mm2", "cement?"),
    (1, 2, "excluded", "contrast_enhanced", "E08", "[bold]agent", "contrast_enhanced;not_lumbar"),
    (2, 0, "excluded", "unreadable", "E01", "not_dicom", "unreadable"),
]
COUNTS = {"files": 3, "images": 2, "patients": 2}
LEFT = {"files": 1, "images": 1, "patients": 1}
STEP = {
    "code": "E08",
    "slug": "contrast_enhanced",
    "enabled": True,
    "removed": {"files": 2, "images": 1, "patients": 1},
    "remain": LEFT,
    "flagged": {"files": 0},
    "not_evaluated": {"files": 7},
    "patients_excluded": 1,
}
OFF = {**STEP, "code": "E11", "slug": "cement", "enabled": False}
REST = [
    {**STEP, "code": code, "slug": slug}
    for code, slug in (("E13", "not_lumbar"), ("E20", "tumour"))
]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    rows = [
        {
            "file_key": key("F", file),
            "image_key": key("I", file) if patient else "",
            "patient_key": key("P", patient) if patient else "",
            "series_key": "",
            "status": status,
            "criterion": criterion,
            "code": code,
            "reason": "",
            "evidence": evidence,
            "threshold": "",
            "decided_by": "rule",
            "all_criteria": listed,
        }
        for file, patient, status, criterion, code, evidence, listed in LEDGER
    ]
    folder = tmp_path / "results" / "cohort"
    schemas.write(schemas.LEDGER, pd.DataFrame(rows), folder / "ledger.csv")
    patients = pd.DataFrame(
        {
            "patient_key": [key("P", 1), key("P", 2)],
            "status": ["included", "excluded"],
            "n_files": [1, 1],
            "n_included": [1, 0],
            "criterion": ["", "contrast_enhanced"],
            "reason": ["", "The scan was made with a contrast agent."],
        }
    )
    schemas.write(schemas.EXCLUSIONS, patients, folder / "exclusions.csv")
    told = {
        "cohort": {"name": "made", "synthetic": True},
        "found": COUNTS,
        "steps": [STEP, OFF, *REST],
        "included": LEFT,
        "included_flagged": LEFT,
        "included_not_evaluated": LEFT,
    }
    write_json(folder / "flow.json", told)
    return tmp_path / "results"


@pytest.fixture
def private(tmp_path: Path) -> Private:
    path = tmp_path / "cohort"
    path.mkdir()
    (path / "cohort.json").write_text('{"synthetic": true, "phantom_seed": 1}')
    identities = pd.DataFrame({name: [""] * 3 for name in schemas.MAP.columns}).assign(
        file_key=[key("F", n) for n in range(3)],
        patient_key=[key("P", 1), key("P", 2), ""],
        patient_id=["007", "008", ""],
        relative_path=["a/[0].dcm", "a/1.dcm", "a/2.txt"],
    )
    vault = open_vault(tmp_path / "private", CohortFolder(path), create=True)
    schemas.write(schemas.MAP, identities, vault.map_path)
    return Private(tmp_path / "private", path)


@pytest.fixture
def nowhere(tmp_path: Path) -> Private:
    return Private(tmp_path / "nowhere", tmp_path / "nowhere")


def printed(answer: Answer | RenderableType, width: int = 250) -> str:
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as capture:
        for view in answer.tables if isinstance(answer, Answer) else [answer]:
            console.print(view)
    return capture.get()


def files(rows: list[Row]) -> list[str]:
    return [row["file_key"] for row in rows]


def test_a_patient_is_found_by_pseudonym_without_the_map(results: Path, nowhere: Private) -> None:
    rows = patient_rows(results, key("P", 2), nowhere)
    assert files(rows) == [key("F", 1)]


def test_a_patient_is_found_by_the_hospitals_id(results: Path, private: Private) -> None:
    assert [row["patient_key"] for row in patient_rows(results, "008", private)] == [key("P", 2)]
    for wrong in ("8", "", key("P", 9)):
        with pytest.raises(UserError, match="--patient: expected a pseudonym") as caught:
            patient_rows(results, wrong, private)
        assert caught.value.private == wrong


def test_without_the_map_a_hospitals_id_is_one_sentence(results: Path, nowhere: Private) -> None:
    with pytest.raises(UserError, match="the key that made the pseudonyms"):
        patient_rows(results, "008", nowhere)


@pytest.mark.parametrize(
    ("criterion", "found"),
    [
        ("contrast_enhanced", [1]),
        ("e08", [1]),
        ("not_lumbar", [1]),
        ("cement", [0]),
        ("tumour", []),
    ],
)
def test_a_criterion_shows_every_file_on_which_it_was_found(
    results: Path, criterion: str, found: list[int]
) -> None:
    assert files(criterion_rows(results, criterion)) == [key("F", n) for n in found]


def test_an_unknown_criterion_is_one_sentence(results: Path) -> None:
    with pytest.raises(UserError, match=r"did you mean tumour\? choose one of contrast_enhanced"):
        criterion_rows(results, "tumor")


@pytest.mark.parametrize("show", [False, True])
def test_paths_are_added_only_when_asked_for(results: Path, private: Private, show: bool) -> None:
    asked = Private(private.folder, private.cohort, show)
    for answer in (
        patient_view(results, "007", private=asked),
        criterion_view(results, "cement", private=asked),
        file_view(results, key("F", 0), private=asked),
    ):
        for form in (printed(answer), answer.csv(), answer.json()):
            assert ("a/[0].dcm" in form) is show


def test_a_file_shows_its_whole_row(results: Path, nowhere: Private) -> None:
    text = printed(file_view(results, f" {key('F', 1)} ", private=nowhere))
    for cell in (key("P", 2), "E08", "[bold]agent", "contrast_enhanced;not_lumbar"):
        assert cell in text
    with pytest.raises(UserError, match="--file: expected a file_key"):
        file_view(results, "F-1", private=nowhere)


def test_the_flow_begins_with_what_was_found_and_ends_with_what_is_included(results: Path) -> None:
    rows = flow_rows(read_flow(results))
    steps = ["files found", "contrast_enhanced", "cement", "not_lumbar", "tumour", "included"]
    assert [row["step"] for row in rows] == steps
    assert [row["files"] for row in rows] == [3, 1, 1, 1, 1, 1]
    assert rows[1]["files_removed"] == 2


def test_the_overview_names_patients_and_reasons(results: Path) -> None:
    text = printed(overview(results))
    assert "SYNTHETIC" in text
    assert "cement (off)" in text
    assert f"{key('P', 2)} 1       contrast_enhanced The scan was made with" in text
    assert key("P", 1) not in text


def test_eighty_characters_cut_no_number_short(results: Path) -> None:
    counts = {"files": 50492, "images": 50491, "patients": 20490}
    told = {**read_flow(results), "found": counts}
    told["steps"][0] = {**STEP, "slug": "not_original_axial", "removed": counts, "remain": counts}
    lines = printed(flow_view(told), width=80).splitlines()
    assert " ".join(next(line for line in lines if "E08" in line).split()) == (
        "E08 not_original_axial 50,492 20,490 50,492 50,491 20,490 7"
    )


def test_long_tables_say_what_they_leave_out(results: Path) -> None:
    assert "1 more; --all shows them." in printed(overview(results, limit=0))
    assert "more" not in printed(overview(results, limit=None))


def test_cells_are_never_read_as_markup(results: Path, nowhere: Private) -> None:
    assert "[bold]agent" in printed(criterion_view(results, "E08", private=nowhere))


def test_criteria_print_with_their_thresholds() -> None:
    params = Exclude.model_validate({"criteria": {"tumour": {"enabled": False}}})
    text = printed(criteria_view(params))
    assert "interval <= 180 days" in text
    assert "tumour (off)" in text


@pytest.mark.parametrize("content", [None, "[", "[]"])
def test_a_missing_flow_is_one_sentence(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "cohort").mkdir()
        (tmp_path / "cohort" / "flow.json").write_text(content)
    with pytest.raises(UserError, match=r"flow\.json: expected the counts"):
        read_flow(tmp_path)


def test_csv_holds_whole_rows_and_the_flow_where_nothing_is_asked(
    results: Path, nowhere: Private
) -> None:
    told = list(csv.DictReader(io.StringIO(criterion_view(results, "E08", private=nowhere).csv())))
    assert told == criterion_rows(results, "E08")
    flow = list(csv.DictReader(io.StringIO(overview(results, limit=0).csv())))
    assert [row["files"] for row in flow] == ["3", "1", "1", "1", "1", "1"]
    nothing = criterion_view(results, "tumour", private=nowhere).csv()
    assert nothing == ",".join(schemas.LEDGER.columns) + "\n"


def test_json_says_whose_rows_these_are(results: Path, nowhere: Private) -> None:
    told = json.loads(patient_view(results, key("P", 2), private=nowhere, limit=0).json())
    assert told["cohort"] == {"name": "made", "synthetic": True}
    assert files(told["rows"]) == [key("F", 1)]
    assert [row["status"] for row in told["patients"]] == ["excluded"]
    excluded = json.loads(overview(results).json())["excluded_patients"]
    assert [row["patient_key"] for row in excluded] == [key("P", 2)]


@pytest.mark.parametrize(
    ("content", "came"),
    [
        (None, "no file that can be read"),
        ("file_key,status\n", "one without the columns file_key, image_key"),
        ("{header}\nF-1\n", "one with cells missing"),
    ],
)
def test_a_broken_ledger_is_one_sentence(results: Path, content: str | None, came: str) -> None:
    path = results / "cohort" / "ledger.csv"
    header = path.read_text().splitlines()[0]
    path.unlink()
    if content is not None:
        path.write_text(content.format(header=header))
    with pytest.raises(UserError, match=rf"ledger\.csv: expected the table .* {came}"):
        ledger_rows(results)


def test_the_columns_are_those_of_the_contract() -> None:
    assert tuple(schemas.LEDGER.columns) == rows.LEDGER
    assert tuple(schemas.EXCLUSIONS.columns) == rows.PATIENTS


def test_the_audit_loads_nothing_heavy() -> None:
    code = "import sys, dsnet.cli, dsnet.audit.view; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"pandas", "pandera", "numpy", "torch"} & set(loaded.stdout.split())


def test_the_command_writes_csv_into_a_pipe(results: Path) -> None:
    call = [sys.executable, "-m", "dsnet.cli", "audit", "--results", str(results)]
    answer = subprocess.run(
        [*call, "--criterion", "cement", "--format", "csv"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.splitlines()[1].startswith(key("F", 0))
    refused = subprocess.run(
        [*call, "--show-private", "--format", "json"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "expected a terminal" in refused.stderr
