"""The audit reads what the exclusions wrote; here, two patients and a file without a patient."""

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console, RenderableType
from support.made_results import Made, tables_of, write_map, write_results

from dsnet import schemas
from dsnet.audit.explain import criterion_rows, flow_rows, patient_rows
from dsnet.audit.view import (
    Answer,
    criteria_view,
    criterion_view,
    file_view,
    flow_view,
    overview,
    patient_view,
)
from dsnet.config.cohort import Exclude
from dsnet.errors import UserError
from dsnet.results import Results


def key(letter: str, number: int) -> str:
    return f"{letter}-{number:016d}"


LEDGER = [
    (0, 1, "included", "", "", "cement: dense area of 40 mm2", "cement?"),
    (1, 2, "excluded", "contrast_enhanced", "E08", "[bold]agent", "contrast_enhanced;not_lumbar"),
    (2, 0, "excluded", "unreadable", "E01", "not_dicom", "unreadable"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return results that no test changes, without a private folder."""
    rows = [
        {
            "file_key": key("F", file),
            "image_key": key("I", file) if patient else "",
            "patient_key": key("P", patient) if patient else "",
            "study_key": key("E", patient) if patient else "",
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
    return write_results(tmp_path_factory.mktemp("made"), tables_of(pd.DataFrame(rows)))


@pytest.fixture
def results(made: Made) -> Results:
    return made.results


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Results:
    """Return results that a test may change."""
    shutil.copytree(made.config.results, tmp_path / "results")
    return Results(tmp_path / "results")


@pytest.fixture
def nowhere(made: Made) -> Path:
    """Return the path of a private folder that does not exist."""
    return made.config.private


@pytest.fixture
def private(made: Made, tmp_path: Path) -> Path:
    """Return a private folder with the map."""
    made = Made(made.config.model_copy(update={"private": tmp_path / "private"}), made.tables)
    paths = {key("F", 0): "a/[0].dcm", key("F", 1): "a/1.dcm", key("F", 2): "a/2.txt"}
    write_map(made, {key("P", 1): "007", key("P", 2): "008"}, paths)
    return made.config.private


def printed(answer: Answer | RenderableType, width: int = 250) -> str:
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as capture:
        for view in answer.tables if isinstance(answer, Answer) else [answer]:
            console.print(view)
    return capture.get()


def files(rows: pd.DataFrame) -> list[str]:
    return rows["file_key"].tolist()


def test_a_patient_is_looked_up_by_pseudonym_without_the_map(
    results: Results, nowhere: Path
) -> None:
    assert files(patient_rows(results, key("P", 2), nowhere)) == [key("F", 1)]
    assert not nowhere.exists()


def test_a_patient_is_looked_up_by_the_hospitals_id(results: Results, private: Path) -> None:
    assert patient_rows(results, " 008 ", private)["patient_key"].tolist() == [key("P", 2)]
    for wrong in ("8", " ", key("P", 9)):
        with pytest.raises(UserError, match="--patient: expected a pseudonym") as caught:
            patient_rows(results, wrong, private)
        assert caught.value.private == wrong


def test_without_the_map_a_hospitals_id_is_one_sentence(results: Results, nowhere: Path) -> None:
    with pytest.raises(UserError, match="the map of the cohort"):
        patient_rows(results, "008", nowhere)


@pytest.mark.parametrize(
    ("criterion", "failing"),
    [
        ("contrast_enhanced", [1]),
        ("e08", [1]),
        ("not_lumbar", [1]),
        ("cement", [0]),
        ("tumour", []),
    ],
)
def test_a_criterion_shows_every_file_that_fails_it(
    results: Results, criterion: str, failing: list[int]
) -> None:
    assert files(criterion_rows(results, criterion)) == [key("F", n) for n in failing]


def test_an_unknown_criterion_is_one_sentence(results: Results) -> None:
    with pytest.raises(UserError, match=r"did you mean tumour\? choose one of review, "):
        criterion_rows(results, "tumor")


@pytest.mark.parametrize("show", [False, True])
def test_paths_are_added_only_when_asked_for(results: Results, private: Path, show: bool) -> None:
    for answer in (
        patient_view(results, "007", private=private, show_private=show),
        criterion_view(results, "cement", private=private, show_private=show),
        file_view(results, key("F", 0), private=private, show_private=show),
    ):
        for form in (printed(answer), answer.csv(), answer.json()):
            assert ("a/[0].dcm" in form) is show


def test_a_file_shows_its_whole_row(results: Results, nowhere: Path) -> None:
    text = printed(file_view(results, f" {key('F', 1)} ", private=nowhere))
    for cell in (key("P", 2), "E08", "[bold]agent", "contrast_enhanced;not_lumbar"):
        assert cell in text
    with pytest.raises(UserError, match="--file: expected a file_key"):
        file_view(results, "F-1", private=nowhere)


def test_the_flow_begins_with_what_was_found_and_ends_with_what_is_included(
    results: Results,
) -> None:
    rows = flow_rows(results.flow)
    assert [row["step"] for row in (rows[0], rows[1], rows[-1])] == [
        "files found",
        "review",
        "included",
    ]
    assert (rows[0]["files"], rows[-1]["files"]) == (3, 1)
    by_step = {row["step"]: row for row in rows}
    assert by_step["contrast_enhanced"]["patients_removed"] == 1
    assert rows[0]["files_removed"] is None
    assert sum(row["files_removed"] or 0 for row in rows) == 2


def test_the_overview_names_patients_and_reasons(results: Results) -> None:
    results.flow["steps"][-1]["enabled"] = False
    text = printed(overview(results))
    assert "SYNTHETIC" in text
    assert "incomplete_levels (off)" in text
    assert f"{key('P', 2)} 1       contrast_enhanced The scan was made with" in text
    assert key("P", 1) not in text


def test_the_overview_counts_near_misses(copied: Results) -> None:
    assert "nearly equal" not in printed(overview(copied))
    copied.flow["identity"] = {"near_misses": 3}
    answer = overview(copied)
    assert "3 patient IDs nearly equal another one" in printed(answer)
    assert json.loads(answer.json())["identity"] == {"near_misses": 3}


def test_eighty_characters_cut_no_number_short(results: Results) -> None:
    counts = {"files": 50492, "images": 50491, "patients": 20490}
    flow = {**results.flow, "found": counts}
    flow["steps"][5] |= {"removed": counts, "remain": counts, "not_evaluated": {"files": 7}}
    code, slug = flow["steps"][5]["code"], flow["steps"][5]["slug"]
    text = printed(flow_view(flow), width=80)
    assert "…" not in text
    lines = text.splitlines()
    assert " ".join(next(line for line in lines if code in line).split()) == (
        f"{code} {slug} 50,492 20,490 50,492 50,491 20,490 7"
    )


def test_long_tables_say_what_they_leave_out(results: Results) -> None:
    assert "1 more; --all shows them." in printed(overview(results, limit=0))
    assert "more" not in printed(overview(results, limit=None))


def test_cells_are_never_read_as_markup(results: Results, nowhere: Path) -> None:
    assert "[bold]agent" in printed(criterion_view(results, "E08", private=nowhere))


def test_criteria_print_with_their_thresholds() -> None:
    params = Exclude.model_validate({"criteria": {"tumour": {"enabled": False}}})
    text = printed(criteria_view(params))
    assert "interval <= 180 days" in text
    assert "tumour (off)" in text


@pytest.mark.parametrize("content", [None, "[", "[]"])
def test_a_missing_flow_is_one_sentence(copied: Results, content: str | None) -> None:
    path = copied.cohort / "flow.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"flow\.json: expected the JSON object"):
        overview(copied)


def test_csv_holds_whole_rows_and_the_flow_where_nothing_is_asked(
    results: Results, nowhere: Path
) -> None:
    rows = list(csv.DictReader(io.StringIO(criterion_view(results, "E08", private=nowhere).csv())))
    assert rows == criterion_rows(results, "E08").to_dict("records")
    flow = list(csv.DictReader(io.StringIO(overview(results, limit=0).csv())))
    assert (flow[0]["files"], flow[0]["files_removed"], flow[-1]["files"]) == ("3", "", "1")
    nothing = criterion_view(results, "tumour", private=nowhere).csv()
    assert nothing == ",".join(schemas.LEDGER.columns) + "\n"


def test_json_says_whose_rows_these_are(results: Results, nowhere: Path) -> None:
    content = json.loads(patient_view(results, key("P", 2), private=nowhere, limit=0).json())
    assert content["cohort"] == {"name": "made & up", "synthetic": True}
    assert [row["file_key"] for row in content["rows"]] == [key("F", 1)]
    assert [row["status"] for row in content["patients"]] == ["excluded"]
    excluded = json.loads(overview(results).json())["excluded_patients"]
    assert [row["patient_key"] for row in excluded] == [key("P", 2)]


def test_a_ledger_of_another_run_is_one_sentence(copied: Results) -> None:
    path = copied.cohort / "ledger.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(UserError, match=r"ledger\.csv: expected the file that was written"):
        criterion_rows(copied, "cement")


def test_the_audit_does_not_load_torch() -> None:
    code = "import sys, dsnet.cli, dsnet.audit.view; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"torch", "matplotlib", "scipy"} & set(loaded.stdout.split())


def test_the_command_writes_csv_into_a_pipe(results: Results) -> None:
    call = [sys.executable, "-m", "dsnet.cli", "audit", "--results", str(results.folder)]
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
