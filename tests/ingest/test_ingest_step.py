import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.ct_builder import ct_slice, save

from dsnet import schemas
from dsnet.config.cohort import Ingest
from dsnet.dicom.reader import Facts
from dsnet.dicom.scan import ScannedFile
from dsnet.errors import UserError
from dsnet.ingest import index, step, workers
from dsnet.ingest.cache import Cache
from dsnet.ingest.step import ingest
from dsnet.private import PrivateCohort
from dsnet.results import Results

pytestmark = pytest.mark.slow


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    folder = tmp_path / "Brannock Hospital"
    for patient in ("000123", "000456"):
        for number in range(3):
            dataset = ct_slice(PatientID=patient, ImagePositionPatient=[0, 0, 4 * number])
            save(dataset, folder / "dicom" / f"Thornabee_{patient}" / f"IM{number}")
    (folder / "dicom" / "NOTES.TXT").write_text("Thornabee^Greta")
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that were read, as they are."""
    names: list[str] = []

    def watched(*arguments: object) -> Iterator[workers.Chunk]:
        for chunk in workers.read_all(*arguments):
            names.extend(Path(file.path).name for file, _ in chunk)
            yield chunk

    monkeypatch.setattr(step, "read_all", watched)
    return names


def run(cohort: Path, **params: object) -> pd.DataFrame:
    out = cohort.parent / "results" / "cohort"
    ingest(
        ingest=Ingest(**params),
        cohort=cohort,
        private=cohort.parent / "private",
        index=out / "index.parquet",
        source=out / "source.json",
    )
    return Results(out.parent).index


def private_of(cohort: Path) -> PrivateCohort:
    return Results(cohort.parent / "results").private(cohort.parent / "private", cohort)


def test_index_map_and_stamp(cohort: Path) -> None:
    rows = run(cohort)
    private = private_of(cohort)
    identities = private.read_map()
    assert len(rows) == len(identities) == 7
    assert set(rows["file_key"]) == set(identities["file_key"])
    assert set(identities["patient_id"]) == {"000123", "000456", ""}
    assert set(identities["ct_date"]) == {"2020-02-29", ""}
    source = json.loads((cohort.parent / "results" / "cohort" / "source.json").read_text())
    assert (source["files"], source["readable"], source["decoded"]) == (7, 6, 6)
    assert source["bytes"] == sum(
        path.stat().st_size for path in (cohort / "dicom").rglob("*") if path.is_file()
    )
    assert source["key"] == private.fingerprint


@pytest.mark.skipif(os.name == "nt", reason="modes as POSIX has them")
def test_only_the_owner_may_enter_the_private_folder(cohort: Path) -> None:
    (cohort / "notes.json").write_text("{")
    save(ct_slice(ConvolutionKernel="Thornabee"), cohort / "dicom" / "IM9")
    before = os.umask(0)
    try:
        index = run(cohort)
    finally:
        os.umask(before)
    private = private_of(cohort)
    files = [path for path in (cohort.parent / "private").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".parquet", ".sqlite", ".key", ".csv"}
    source = json.loads((cohort.parent / "results" / "cohort" / "source.json").read_text())
    assert source["not_searched"] == {"json": 1}
    assert (
        '"json","notes.json","JSONDecodeError"' in (private.folder / "not_searched.csv").read_text()
    )
    kernel = next(name for name in index["kernel"] if name.startswith("K-"))
    assert f'"{kernel}","Thornabee' in (private.folder / "kernels.csv").read_text()
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(private.folder.stat().st_mode) == 0o700


def test_tables_are_the_same_written_some_rows_at_a_time(
    cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IM1", "IM2"):  # of nobody, and of a patient whose pixels come in between
        save(ct_slice(np.eye(8, dtype=int), PatientID=""), cohort / "dicom" / "x" / name)
    (cohort / "dxa.csv").write_text("patient_id,exam_date\nCopied000123,\n")
    run(cohort)
    private = private_of(cohort)
    paths = (private.map_path, private.identifying_path)
    before = [Results(cohort.parent / "results").index, *map(pd.read_parquet, paths)]
    for module in (index, step):
        monkeypatch.setattr(module, "AT_A_TIME", 2)
    after = [run(cohort), *map(pd.read_parquet, paths)]
    for one, other in zip(before, after, strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600] * 2


def test_what_recurs_is_said_and_too_much_of_it_stops(
    cohort: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = Facts("unexpected_content", fault_class="KeyError", fault_frame="dicom/header.py:7 read")

    def read_all(files: list[ScannedFile], *_: object) -> Iterator[workers.Chunk]:
        yield [
            (file, odd if file.relative.endswith("IM0") else Facts("cut_header")) for file in files
        ]

    monkeypatch.setattr(step, "read_all", read_all)
    assert (run(cohort, max_unexpected=0.3)["fault"] == "unexpected_content").sum() == 2
    assert "raised KeyError in dicom/header.py:7 read: this looks like" in capsys.readouterr().err
    shutil.rmtree(cohort.parent / "results")
    with pytest.raises(UserError, match="2 of 7"):
        run(cohort)
    assert len(pd.read_parquet(cohort.parent / "results" / "cohort" / "index.parquet")) == 7


def test_no_identity_leaves_the_private_folder(cohort: Path) -> None:
    index = run(cohort)
    uids = [ct_slice().StudyInstanceUID, ct_slice().SeriesInstanceUID]
    words = ["000123", "000456", "Thornabee", "Brannock", "IM0", "2020-02-29", "20200229", *uids]
    text = index.to_csv() + (cohort.parent / "results" / "cohort" / "source.json").read_text()
    content = (cohort.parent / "results" / "cohort" / "index.parquet").read_bytes()
    for word in words:
        assert word not in text
        assert word.encode() not in content


def test_identifying_values_go_to_the_private_folder(cohort: Path) -> None:
    (cohort / "dxa.csv").write_text("patient_id,exam_date\n000777,03.04.2021\n")
    run(cohort)
    private = private_of(cohort)
    first = schemas.read(schemas.IDENTIFYING, private.identifying_path)
    values = set(zip(first["value"], first["kind"], strict=True))
    assert values >= {
        ("000123", "PatientID"),
        ("Thornabee^Greta", "PatientName"),
        ("2020-02-29", "AcquisitionDate"),
        ("1.2.3", "StudyInstanceUID"),
        ("000777", "cohort table"),
        ("2021-04-03", "cohort table"),
        ("Thornabee_000123", "path"),
        ("NOTES.TXT", "path"),
        ("NOTES", "path"),
    }
    known = private.read_map()
    owners = first.loc[first["value"] == "000123", ["kind", "patient_key"]].to_numpy().tolist()
    key = known.loc[known["patient_id"] == "000123", "patient_key"].iloc[0]
    assert ["PatientID", key] in owners
    run(cohort)
    again = schemas.read(schemas.IDENTIFYING, private.identifying_path)
    pd.testing.assert_frame_equal(again, first)


def test_a_second_run_opens_only_what_is_new_or_changed(cohort: Path, opened: list[str]) -> None:
    first = run(cohort)
    assert sorted(opened) == ["IM0", "IM0", "IM1", "IM1", "IM2", "IM2", "NOTES.TXT"]
    opened.clear()
    pd.testing.assert_frame_equal(run(cohort), first)
    assert opened == []
    save(ct_slice(PatientID="000789"), cohort / "dicom" / "new" / "NEW0")
    save(ct_slice(PatientID="00012"), cohort / "dicom" / "Thornabee_000123" / "IM1")
    assert len(run(cohort)) == 8
    assert sorted(opened) == ["IM1", "NEW0"]
    opened.clear()
    run(cohort, metal_hu=2000)
    assert len(opened) == 8


def test_removed_files_vanish(cohort: Path, opened: list[str]) -> None:
    run(cohort)
    shutil.rmtree(cohort / "dicom" / "Thornabee_000123")
    opened.clear()
    assert len(run(cohort)) == 4
    assert opened == []


def test_an_interrupted_run_goes_on_where_it_was(
    cohort: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_CHUNK", 2)
    add = Cache.add

    def interrupted(cache: Cache, facts: object) -> None:
        if len(opened) > 4:
            raise KeyboardInterrupt
        add(cache, facts)

    monkeypatch.setattr(Cache, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(cohort)
    assert not (cohort.parent / "results").exists()
    monkeypatch.setattr(Cache, "add", add)
    opened.clear()
    assert len(run(cohort)) == 7
    assert len(opened) == 3


def test_over_processes_it_is_the_same(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(cohort)
    next((cohort.parent / "private").glob("ingest-*.sqlite")).unlink()
    monkeypatch.setattr(workers, "_FEW", 0)
    pd.testing.assert_frame_equal(run(cohort, processes=2), first)


@pytest.mark.parametrize("missing", [True, False])
def test_a_cohort_without_files(tmp_path: Path, missing: bool) -> None:
    (tmp_path / "cohort" / ("elsewhere" if missing else "dicom")).mkdir(parents=True)
    with pytest.raises(UserError, match="expected DICOM files in its folder dicom/"):
        run(tmp_path / "cohort")
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "private").exists()


def test_results_of_another_key_stay_as_they_are(cohort: Path) -> None:
    run(cohort)
    results = cohort.parent / "results" / "cohort"
    before = {path.name: path.read_bytes() for path in results.iterdir()}
    (cohort.parent / "private" / "pseudonym.key").write_text("ab" * 32)
    with pytest.raises(UserError, match="another key"):
        run(cohort)
    assert {path.name: path.read_bytes() for path in results.iterdir()} == before


def test_the_command_line_is_silent_and_names_no_one(cohort: Path) -> None:
    command = [sys.executable, "-m", "dsnet.ingest.step", "--ingest", "{}", "--cohort", str(cohort)]
    command += ["--private", "private", "--index", "r/cohort/i.parquet"]
    command += ["--source", "r/cohort/source.json"]
    (cohort / "dicom" / "BAD").write_bytes(bytes(128) + b"DICM" + b"Thornabee")
    done = subprocess.run(command, capture_output=True, text=True, cwd=cohort.parent, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    shutil.rmtree(cohort / "dicom")
    done = subprocess.run(command, capture_output=True, text=True, cwd=cohort.parent, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no such folder" in done.stderr
