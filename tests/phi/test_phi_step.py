import base64
import gzip
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.planted_phi import WRITERS, make_project, search
from typer.testing import CliRunner

from dsnet import schemas
from dsnet.cli import app
from dsnet.config.output import PhiCheck
from dsnet.errors import UserError
from dsnet.phi import step
from dsnet.phi.search import RANGE_BYTES, Source, search_file
from dsnet.phi.step import ALLOWED, Task
from dsnet.results import Results

pytestmark = pytest.mark.slow

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
    """Return a folder with a cohort's private values and empty results."""
    make_project(tmp_path, VALUES)
    return tmp_path


def report(project: Path) -> dict:
    return json.loads((project / "results" / "phi_check.json").read_text(encoding="utf-8"))


def hits_of(project: Path) -> set[tuple[str, str]]:
    """Return file and kind of each hit; the report names no value."""
    with suppress(UserError):
        search(project)
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


@pytest.mark.parametrize(
    ("value", "kind", "form", "text"),
    [
        ("O'Brien^Maeve", "PatientName", "name", "OBRIEN"),
        ("Smythe-Quarrel^Jon^Alfred", "PatientName", "name", "smythequarrel"),
        ("Quarrel^Jon^Alfred", "PatientName", "name", "JonQuarrel"),
        ("Wendelholm^Anke", "PatientName", "name", "Wendel\u00adholm"),
        ("Wendelholm^Anke", "PatientName", "name", "Wendel&shy;holm"),
        ("Nguyễn^Thị", "PatientName", "name", "Nguye\u0302\u0303n"),
        ("İbrahimoğlu^Sibel", "PatientName", "name", "IBRAHIMOGLU"),
        ("İbrahimoğlu^Sibel", "PatientName", "name", "ibrahimoğlu"),
        ("Ødegård^Bjørn", "PatientName", "name", "Oedegaard"),
        ("Łuczak^Æsa", "PatientName", "name", "luczak"),
        ("الأحمدي^محمد", "PatientName", "name", "محمد الأحمدي"),
        ("สมชาย^ใจดี", "PatientName", "name", "ใจดี สมชาย"),
        ("123-45-6789", "PatientID", "text", "123456789"),
        ("MRN 00-1234-567", "PatientID", "text", "00-1234-567"),
        ("MRN 00-1234-567", "PatientID", "text", "1234567"),
        ("MRN0012345678", "OtherPatientIDs", "text", "12345678"),
        ("555-123-4567", "PatientTelephoneNumbers", "text", "(555) 123-4567"),
        ("555-123-4567", "PatientTelephoneNumbers", "text", "5551234567"),
        ("17 Quillon Lane, Skerrywold", "PatientAddress", "text", "17 quillon lane"),
        ("mail to greta.thornabee@example.org", "PatientComments", "text", "greta_thornabee"),
    ],
)
def test_values_written_without_their_separators_or_marks(
    tmp_path: Path, value: str, kind: str, form: str, text: str
) -> None:
    make_project(tmp_path, [(value, kind, form, PATIENT)])
    (tmp_path / "results" / "log.html").write_text(f"read {text}, done", encoding="utf-8")
    with pytest.raises(UserError, match=kind):
        search(tmp_path)


@pytest.mark.parametrize(
    ("value", "kind", "form", "text"),
    [
        ("Li^Bo", "PatientName", "name", "libo"),
        ("47-11-03", "PatientID", "text", "471103"),
        ("aortic calcification " * 9 + "grade", "cohort table", "text", "grade"),
        ("Lumbar spine of Anna", "StudyDescription", "text", "lumbarspineofanna"),
        ("Window Center", "InstitutionName", "text", "WindowCenter"),
    ],
)
def test_joined_words_that_chance_makes_are_no_hits(
    tmp_path: Path, value: str, kind: str, form: str, text: str
) -> None:
    make_project(tmp_path, [(value, kind, form, PATIENT)])
    (tmp_path / "results" / "log.txt").write_text(f"read {text}, done")
    assert search(tmp_path).suspects == 0


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


def test_the_time_in_a_name_of_snakemake_is_no_id(project: Path) -> None:
    for name in ("2026-11-27T506445.123456", "2026-11-27T203301.506445"):
        (project / "results" / f"{name}.snakemake.log").write_text("")
    assert hits_of(project) == set()
    for name in ("506445.snakemake.log", "2026-11-27T506445.123456.log", "2017-11-11T203301.1.log"):
        (project / "results" / name).write_text("")
        assert hits_of(project) != set(), name
        (project / "results" / name).unlink()


def test_a_damaged_container_is_searched_as_bytes(project: Path) -> None:
    (project / "results" / "cut.parquet").write_bytes(b"PAR1" + bytes(40) + b"Braskacker")
    assert hits_of(project) == {("cut.parquet", "PatientName")}
    assert report(project)["searched_as_raw_bytes_alone"] == {"parquet": 1}


def test_values_that_cross_blocks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsnet.phi.search._BLOCK_BYTES", 64)
    monkeypatch.setattr("dsnet.phi.search._OVERLAP_BYTES", 32)
    for offset in range(50, 64):
        content = bytes(offset) + b"Braskacker" + bytes(99)
        (project / "results" / f"{offset}.bin").write_bytes(content)
    assert len(hits_of(project)) == 14


def test_what_the_user_allows_is_counted(project: Path) -> None:
    (project / "results" / "log.txt").write_text("DIR000")
    (project / "private" / ALLOWED).write_text("dir000\n")
    assert search(project).searched == len(VALUES) - 6
    assert report(project)["skipped_by_reason"]["allowed in data/private/phi_allow.txt"] == 1


def test_private_values_that_changed_are_read_again(project: Path) -> None:
    """For those who call the search from Python, more than once in a process."""
    path = project / "results" / "log.txt"
    path.write_text("Braskacker, Quillonbeck")
    (identifying,) = (project / "private").glob("*/identifying.parquet")
    allowed = project / "private" / ALLOWED
    own = identifying.parent
    source = Source(identifying, own / schemas.DROPPED_NAME, own / "none", allowed)

    def values() -> set[str]:
        return {hit.value for hit in search_file(path, "log.txt", source).hits}

    assert values() == {"Braskacker^Eluned"}
    rows = schemas.read(schemas.IDENTIFYING, identifying)
    rows.loc[len(rows)] = ("Quillonbeck", "PatientName", "name", PATIENT)
    schemas.write(schemas.IDENTIFYING, rows, identifying)
    assert values() == {"Braskacker^Eluned", "Quillonbeck"}
    allowed.write_text("Quillonbeck\n")
    assert values() == {"Braskacker^Eluned"}


def test_a_file_that_vanishes_is_counted(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = project / "results" / "gone.txt"
    monkeypatch.setattr(step, "_tasks", lambda *_: iter([Task(gone, "results/gone.txt")]))
    search(project)
    assert report(project)["gone_while_searching"] == 1


def test_what_is_packed_too_deep_is_counted(project: Path) -> None:
    content = b"Braskacker"
    for _ in range(7):
        content = gzip.compress(content)
    (project / "results" / "deep.gz").write_bytes(content)
    search(project)
    assert sum(report(project)["searched_as_raw_bytes_alone"].values()) == 1


def test_the_private_folder_is_not_searched(project: Path) -> None:
    inside = project / "results" / "private"
    (project / "private").rename(inside)
    (inside / "notes.txt").write_text("Braskacker")
    (project / "private").symlink_to(inside)
    assert search(project).files == 0


def test_nothing_to_search_is_an_error(project: Path) -> None:
    (project / "results").rmdir()
    with pytest.raises(UserError, match="expected a folder to search"):
        search(project)


def test_cohort_files_that_could_not_be_read_are_counted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert step.unread_sources(Results(project / "owner")) == ""
    path = project / "owner" / "cohort" / "source.json"
    source = json.loads(path.read_text()) | {"not_searched": {"table": 1, "workbook": 2}}
    path.write_text(json.dumps(source))
    search(project)
    assert report(project)["cohort_files_not_read"] == {"table": 1, "workbook": 2}
    monkeypatch.chdir(project)
    (project / "config").mkdir()
    (project / "config" / "config.yaml").write_text(
        "cohort: made\nresults: owner\nprivate: private\n"
    )
    done = CliRunner().invoke(app, ["phi-check"])
    assert done.exit_code == 0, done.output
    assert "3 of the cohort's files beside dicom/ could not be read (table 1, workbook 2)" in (
        done.stdout
    )


def test_the_step_fails_in_one_sentence_over_processes(project: Path) -> None:
    results = project / "owner"
    for number in range(24):
        (results / f"{number}.txt").write_text("Braskacker" if number == 7 else "")
    command = [sys.executable, "-m", "dsnet.phi.step", "--phi-check", '{"processes": 2}']
    command += ["--private", "private", "--results", "owner", "--logs", "logs"]
    command += ["--records", ".snakemake", "--report", "phi_check.json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=project, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "1 of them (PatientName) in 1 files" in done.stderr
    assert "Braskacker" not in done.stderr
    (hit,) = json.loads((project / "phi_check.json").read_text())["hits"]
    assert (hit["path"], hit["kind"]) == ("owner/7.txt", "PatientName")


def suspects(project: Path) -> set[tuple[str, str]]:
    """Return file and kind of each suspect of the last search, which may not have failed."""
    rows = report(project)["suspects"]
    return {(row["path"].removeprefix("results/"), row["kind"]) for row in rows}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("measured.csv", "voxels\n506445\n12\n", "PatientID"),
        ("born.txt", "15.8.62", "PatientBirthDate"),
        ("row.txt", "1962 8 15", "PatientBirthDate"),
        ("field.yaml", "length: long\n", "PatientName"),
    ],
)
def test_what_may_be_chance_is_counted_and_fails_nothing(
    project: Path, name: str, content: str, kind: str
) -> None:
    (project / "results" / name).write_text(content)
    assert search(project).suspects == 1
    assert suspects(project) == {(name, kind)}


def test_a_date_on_which_the_file_was_written_is_a_suspect(project: Path) -> None:
    path = project / "results" / "run.log"
    path.write_text("2017-11-11 done")
    os.utime(path, (1510401600, 1510401600))  # noon of that day, UTC
    search(project)
    assert suspects(project) == {("run.log", "StudyDate")}


def test_the_report_lists_what_is_not_searched(project: Path) -> None:
    search(project)
    assert any("pixels" in line for line in report(project)["not_searched"])


def test_a_store_of_integers_is_searched_for_what_it_spells(project: Path) -> None:
    """Values of soft tissue are those of letters, and must not be read as text."""
    noise = np.random.default_rng(0).normal(60, 25, (20, 64, 64)).astype("<i2")
    np.save(project / "results" / "clean.npy", noise)
    for kind in ("<i2", ">i2", "<i4", "<u2"):
        spelled = noise.astype(kind)
        spelled[3, 5, 7:17] = [ord(letter) for letter in "BRASKACKER"]
        np.save(project / "results" / f"{kind[1:]}{kind[0] == '<'}.npy", spelled)
    ids = np.zeros(9, "<i8")
    ids[4] = 10271831
    np.save(project / "results" / "ids.npy", ids)
    text = np.frombuffer(b"\0\0Braskacker\0\0", "<i2")
    np.save(project / "results" / "bytes.npy", text)
    assert {name for name, _ in hits_of(project)} == {
        "i2True.npy",
        "i2False.npy",
        "i4True.npy",
        "u2True.npy",
        "ids.npy",
        "bytes.npy",
    }
    assert suspects(project) == set()


def test_large_files_are_searched_in_ranges(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsnet.phi.search.RANGE_BYTES", 4096)
    monkeypatch.setattr("dsnet.phi.search._OVERLAP_BYTES", 64)
    size = 30_000
    store = np.zeros(size // 2, "<i2")
    for at in (10, 2045, size // 4, size // 2 - 12):  # the second one crosses two ranges
        store[at : at + 10] = [ord(letter) for letter in "Braskacker"]
        np.save(project / "results" / f"store{at}.npy", store)
        store[at : at + 10] = 0
        content = bytearray(size)
        content[2 * at : 2 * at + 10] = b"Braskacker"
        (project / "results" / f"{at}.bin").write_bytes(content)
    assert len(hits_of(project)) == 8
    assert report(project)["files"] == 8
    assert report(project)["bytes"] == sum(
        path.stat().st_size for path in (project / "results").iterdir() if path.suffix != ".json"
    )


def test_processes_share_a_large_file(project: Path) -> None:
    with (project / "results" / "large.bin").open("wb") as stream:
        stream.seek(RANGE_BYTES + 5000)
        stream.write(b" Braskacker ")
    with suppress(UserError):
        search(project, processes=2)
    assert [hit["path"] for hit in report(project)["hits"]] == ["results/large.bin"]


def test_values_that_deidentification_removed(project: Path) -> None:
    """Values that are rare or hold digits are searched for, and what many patients share is not."""
    rows = [("SOMATOM Force", "ManufacturerModelName", "text", f"P-{n:016x}") for n in range(40)]
    rows += [("HFS", "PatientPosition", "text", PATIENT), ("512", "Rows", "text", PATIENT)]
    rows += [("Wendelholm", "StationName", "text", PATIENT)]
    rows += [("CT99KX71", "unknown element", "text", PATIENT)]
    rows += [("Quarrington", "private element", "text", f"P-{n:016x}") for n in range(15)]
    frame = pd.DataFrame(rows, columns=list(schemas.IDENTIFYING.columns))
    path = next((project / "private").glob("*/map.parquet")).with_name(schemas.DROPPED_NAME)
    schemas.write(schemas.IDENTIFYING, frame, path)
    (project / "results" / "log.txt").write_text(
        "SOMATOM Force, HFS, 512, Wendelholm, CT99KX71, Quarrington"
    )
    assert hits_of(project) == {("log.txt", "StationName"), ("log.txt", "unknown element")}
    common = "removed by de-identification, but not distinctive"
    assert report(project)["skipped_by_reason"][common] == 2


def test_damaged_and_encrypted_archives_are_counted(project: Path) -> None:
    (project / "results" / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(90))
    (project / "results" / "b.zip").write_bytes(b"PK\x03\x04" + bytes(40) + b"Braskacker")
    assert hits_of(project) == {("b.zip", "PatientName")}
    assert report(project)["searched_as_raw_bytes_alone"] == {"7z": 1, "zip": 1}


def test_an_external_cohorts_identities_are_searched_for_everywhere(project: Path) -> None:
    north = project / "north"
    make_project(north, [("0099887766", "PatientID", "text", OTHER)])
    (project / "owner" / "external").mkdir()
    shutil.copytree(north / "owner", project / "owner" / "external" / "north")
    shutil.copytree(north / "private", project / "private" / "external" / "north")
    search_all = {
        "folders": [project / "results"],
        "params": PhiCheck(processes=1),
        "results": Results(project / "owner"),
        "private": project / "private",
        "report": project / "results" / "phi_check.json",
    }
    (project / "results" / "table.csv").write_text("a,0099887766\n", encoding="utf-8")
    assert step.check(**search_all, external=["south"]).files == 1
    with pytest.raises(UserError, match="PatientID"):
        step.check(**search_all, external=["north"])
    (project / "results" / "table.csv").write_text("a,0010271831\n", encoding="utf-8")
    with pytest.raises(UserError, match="PatientID"):
        step.check(**search_all, external=["north"])
