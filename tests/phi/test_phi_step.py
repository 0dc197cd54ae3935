import base64
import gzip
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from dsnet.pseudonym import open_vault
from support.planted_phi import WRITERS

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.config.output import PhiCheck
from dsnet.errors import UserError
from dsnet.phi import step
from dsnet.phi.step import ALLOWED, Summary, Task, check

PATIENT = "P-0123456789abcdef"
OTHER = "P-fedcba9876543210"
VALUES = [
    ("Braskacker^Eluned", "PatientName", "name", PATIENT),
    ("Long^Anna", "PatientName", "name", OTHER),
    ("0010271831", "PatientID", "text", PATIENT),
    ("506445", "PatientID", "text", OTHER),
    ("4711", "StudyID", "text", PATIENT),
    ("1.2.826.0.1.3680043.8.498.40337123", "StudyInstanceUID", "uid", PATIENT),
    ("2017-11-11", "StudyDate", "date", PATIENT),
    ("1962-08-15", "PatientBirthDate", "date", OTHER),
    ("Skerrywold Infirmary", "InstitutionName", "text", PATIENT),
    ("Größlmüller", "PatientName", "name", PATIENT),
    ("CT", "StudyDescription", "text", PATIENT),
    ("Lumbar spine", "SeriesDescription", "text", PATIENT),
    ("1900-01-01", "PatientBirthDate", "date", PATIENT),
    ("12.50", "private element", "text", PATIENT),
    ("DIR000", "path", "text", ""),
    ("clinical.csv", "path", "text", ""),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with a cohort, its private values and empty results."""
    cohort, private = tmp_path / "cohort", tmp_path / "private"
    (cohort / "dicom").mkdir(parents=True)
    (tmp_path / "results").mkdir()
    vault = open_vault(private, CohortFolder(cohort), create=True)
    frame = pd.DataFrame(VALUES, columns=list(schemas.IDENTIFYING.columns))
    schemas.write(schemas.IDENTIFYING, frame, vault.identifying_path)
    return tmp_path


def run(project: Path, processes: int = 1) -> Summary:
    return check(
        [project / "results"],
        PhiCheck(processes=processes),
        cohort=project / "cohort",
        private=project / "private",
        index=project / "results" / "index.parquet",
        report=project / "results" / "phi_check.json",
    )


def report(project: Path) -> dict:
    return json.loads((project / "results" / "phi_check.json").read_text(encoding="utf-8"))


def hits_of(project: Path) -> set[tuple[str, str]]:
    """Return file and kind of each hit; the report names no value."""
    with suppress(UserError):
        run(project)
    content = (project / "results" / "phi_check.json").read_text(encoding="utf-8")
    assert not any(f'"{value}"' in content for value, *_ in VALUES)
    return {(hit["path"].removeprefix("results/"), hit["kind"]) for hit in report(project)["hits"]}


@pytest.mark.parametrize("text", ["Braskacker^Eluned", "BRASKACKER", "braskacker"])
def test_a_name_is_found_in_every_format(project: Path, text: str) -> None:
    for name, write in WRITERS.items():
        write(project / "results" / name, text)
    missed = set(WRITERS) - {name for name, kind in hits_of(project) if kind == "PatientName"}
    assert missed == set()
    assert report(project)["searched_as_raw_bytes_alone"] == {}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0010271831", "PatientID"),
        ("10271831", "PatientID"),
        ("1.2.826.0.1.3680043.8.498.40337123", "StudyInstanceUID"),
        ("20171111", "StudyDate"),
        ("2017-11-11", "StudyDate"),
        ("11.11.2017", "StudyDate"),
        ("08/15/1962", "PatientBirthDate"),
        ("15/08/1962", "PatientBirthDate"),
        ("LONG, ANNA", "PatientName"),
        ("Anna_Long", "PatientName"),
        ("SKERRYWOLD-INFIRMARY", "InstitutionName"),
        ("GRÖSSLMÜLLER", "PatientName"),
        ("Größlmüller", "PatientName"),
        ("dicom/DIR000/x", "path"),
    ],
)
def test_every_kind_is_found_in_its_forms(project: Path, text: str, kind: str) -> None:
    names = ["log.txt", "table.csv", "facts.json", "cells.parquet", "plain.dcm", "weights.pt"]
    for name in names:
        WRITERS[name](project / "results" / name, text)
    assert {(name, kind) for name in names} <= hits_of(project)


def test_letters_beyond_ascii_among_raw_bytes(project: Path) -> None:
    for encoding in ("utf-8", "latin-1", "utf-16-le"):
        for number, text in enumerate(("Größlmüller", "größlmüller", "GRÖSSLMÜLLER")):
            content = bytes(90) + text.encode(encoding) + bytes(9)
            (project / "results" / f"{number}{encoding}.bin").write_bytes(content)
    assert len(hits_of(project)) == 9


def test_what_is_no_hit(project: Path) -> None:
    results = project / "results"
    (results / "log.txt").write_text(
        "As Long as it takes: 0.506445 s, 14506445, colour #506445, x4711, 4711 rows, v20171111b\n"
        "lumbar spine, Braskackers, 1900-01-01, 12.50, DIR0001, clinical.csv"
    )
    frame = pd.DataFrame({"voxels": [506445, 12], "share": [0.506445, 4711.5], "row": [4711, 1]})
    frame.to_parquet(results / "index.parquet")
    assert hits_without_index(project, frame) == set()
    assert sum(report(project)["skipped_by_reason"].values()) == 5


def hits_without_index(project: Path, frame: pd.DataFrame) -> set[tuple[str, str]]:
    (project / "results" / "index.parquet").unlink()
    frame.to_csv(project / "results" / "table.csv")
    frame.to_parquet(project / "results" / "table.parquet")
    (project / "results" / "facts.json").write_text(json.dumps(frame.to_dict("list")))
    return hits_of(project)


@pytest.mark.parametrize("name", ["ids.csv", "ids.parquet", "ids.json"])
def test_ids_that_became_numbers(project: Path, name: str) -> None:
    frame = pd.DataFrame({"patient_id": [506445, 10271831], "n": [1, 2]})
    path = project / "results" / name
    {"csv": frame.to_csv, "parquet": frame.to_parquet, "json": frame.to_json}[path.suffix[1:]](path)
    assert report_values(project) == {(name, "PatientID"): 2}


def report_values(project: Path) -> dict[tuple[str, str], int]:
    hits_of(project)
    values: dict[tuple[str, str], int] = {}
    for hit in report(project)["hits"]:
        key = (hit["path"].removeprefix("results/"), hit["kind"])
        values[key] = max(values.get(key, 0), hit["values"])
    return values


def test_a_short_number_counts_as_a_whole_value(project: Path) -> None:
    (project / "results" / "facts.json").write_text('{"study": "4711", "rows": 4711}')
    assert hits_of(project) == {("facts.json", "StudyID")}


def test_dates_in_a_patients_own_file_are_the_patients(project: Path) -> None:
    for key, day in ((PATIENT, "19620815"), (OTHER, "19620815")):
        folder = project / "results" / "deidentified" / key / "S-1"
        folder.mkdir(parents=True)
        WRITERS["plain.dcm"](folder / "a.dcm", day)
    assert {path for path, _ in hits_of(project)} == {f"deidentified/{OTHER}/S-1/a.dcm"}


def test_paths_are_searched_and_withheld(project: Path) -> None:
    records = project / "results" / "metadata"
    records.mkdir()
    name = base64.urlsafe_b64encode(b"data/Braskacker_Eluned/x" * 3).decode().rstrip("=")
    (records / f"@{name[:30]}").mkdir()
    (records / f"@{name[:30]}" / name[30:]).write_text("{}")
    (project / "results" / "Braskacker.log").write_text("")
    hits = hits_of(project)
    assert hits == {("a path that is itself identifying", "PatientName")}
    assert {hit["values"] for hit in report(project)["hits"]} == {2}


def test_a_damaged_container_is_searched_as_bytes(project: Path) -> None:
    (project / "results" / "cut.parquet").write_bytes(b"PAR1" + bytes(40) + b"Braskacker")
    assert hits_of(project) == {("cut.parquet", "PatientName")}
    assert report(project)["searched_as_raw_bytes_alone"] == {"parquet": 1}


def test_values_that_cross_blocks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsnet.phi.containers._BLOCK_BYTES", 64)
    monkeypatch.setattr("dsnet.phi.containers._OVERLAP_BYTES", 32)
    for offset in range(50, 64):
        content = bytes(offset) + b"Braskacker" + bytes(99)
        (project / "results" / f"{offset}.bin").write_bytes(content)
    assert len(hits_of(project)) == 14


def test_what_the_user_allows_is_counted(project: Path) -> None:
    (project / "results" / "log.txt").write_text("DIR000")
    (project / "private" / ALLOWED).write_text("dir000\n")
    assert run(project).searched == len(VALUES) - 6
    assert report(project)["skipped_by_reason"]["allowed in data/private/phi_allow.txt"] == 1


def test_a_file_that_vanishes_is_counted(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = project / "results" / "gone.txt"
    monkeypatch.setattr(step, "_tasks", lambda *_: iter([Task(gone, "results/gone.txt")]))
    run(project)
    assert report(project)["gone_while_searching"] == 1


def test_what_is_packed_too_deep_is_counted(project: Path) -> None:
    content = b"Braskacker"
    for _ in range(7):
        content = gzip.compress(content)
    (project / "results" / "deep.gz").write_bytes(content)
    run(project)
    assert sum(report(project)["searched_as_raw_bytes_alone"].values()) == 1


def test_the_private_folder_is_not_searched(project: Path) -> None:
    inside = project / "results" / "private"
    (project / "private").rename(inside)
    (inside / "notes.txt").write_text("Braskacker")
    (project / "private").symlink_to(inside)
    assert run(project).files == 0


def test_nothing_to_search_is_an_error(project: Path) -> None:
    (project / "results").rmdir()
    with pytest.raises(UserError, match="expected a folder to search"):
        run(project)


def test_the_step_fails_in_one_sentence_over_processes(project: Path) -> None:
    for number in range(24):
        (project / "results" / f"{number}.txt").write_text("Braskacker" if number == 7 else "")
    alone = hits_of(project)
    command = [sys.executable, "-m", "dsnet.phi.step", "--params", '{"processes": 2}']
    command += ["--cohort", "cohort"]
    command += ["--private", "private", "--index", "none", "--results", "results", "--logs", "logs"]
    command += ["--records", ".snakemake", "--report", "results/phi_check.json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=project, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "1 of them (PatientName) in 1 files" in done.stderr
    assert "Braskacker" not in done.stderr
    assert alone == {("7.txt", "PatientName")}
    assert len(report(project)["hits"]) == 1
