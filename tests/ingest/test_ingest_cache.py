import math
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from support.ct_builder import ct_slice, read, save

from dsnet.dicom.evidence import NOTHING
from dsnet.dicom.header import BLANK
from dsnet.dicom.reader import Facts
from dsnet.dicom.scan import ScannedFile, scan
from dsnet.ingest.cache import Cache, open_cache


@pytest.fixture
def files(tmp_path: Path) -> list[ScannedFile]:
    save(ct_slice(), tmp_path / "dicom" / "a")
    (tmp_path / "dicom" / "notes").write_text("nothing")
    return scan(tmp_path / "dicom")


def facts_of(files: list[ScannedFile]) -> list[tuple[ScannedFile, Facts]]:
    return [(file, read(Path(file.path))) for file in files]


def known(cache: Cache, files: list[ScannedFile]) -> list[str]:
    """Return the paths of those files that are not read again."""
    unread = cache.unread(files)
    return [file.relative for file in files if file not in unread]


def test_what_was_added_comes_back(tmp_path: Path, files: list[ScannedFile]) -> None:
    added = facts_of(files)
    with open_cache(tmp_path / "c", "s") as cache:
        assert known(cache, files) == []
        cache.add(added)
    with open_cache(tmp_path / "c", "s") as cache:
        assert known(cache, files) == ["a", "notes"]
        facts = cache.facts()
        of_headers = cache.identifying(pd.Series(["P-1", ""])).to_pandas()
    for row, (file, one) in zip(facts.itertuples(), added, strict=True):
        assert (row.relative_path, row.fault) == (file.relative, one.fault)
        header, evidence = one.header or BLANK, one.evidence or NOTHING
        assert (row.readable, row.decoded) == (one.header is not None, one.evidence is not None)
        for name, value in (header._asdict() | evidence._asdict()).items():
            kept = getattr(row, name)
            assert kept == value or (pd.isna(kept) and (value is None or math.isnan(value)))
    met = set(of_headers[["kind", "form", "value"]].itertuples(index=False, name=None))
    assert met == set(added[0][1].identifying)
    assert set(of_headers["patient_key"]) == {"P-1"}


def test_values_are_those_of_each_patient(tmp_path: Path) -> None:
    for name, patient in (("a", "1"), ("b", "1"), ("c", "2")):
        save(ct_slice(PatientID=patient, SOPInstanceUID="1.2"), tmp_path / "dicom" / name)
    files = scan(tmp_path / "dicom")
    with open_cache(tmp_path / "c", "s") as cache:
        for file in files:  # one after the other, so that the first value comes again later
            cache.add(facts_of([file]))
    with open_cache(tmp_path / "c", "s") as cache:
        met = cache.identifying(pd.Series(["P-1", "P-1", "P-2"])).to_pandas()
    met = met[met["kind"] == "PatientID"]
    assert met[["value", "patient_key"]].to_numpy().tolist() == [["1", "P-1"], ["2", "P-2"]]


def test_a_process_that_dies_loses_a_second_of_reading(
    tmp_path: Path, files: list[ScannedFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = facts_of(files)
    now = [100.0]
    monkeypatch.setattr("dsnet.ingest.cache.time.monotonic", lambda: now[0])
    with open_cache(tmp_path / "c", "s") as cache, open_cache(tmp_path / "c", "s") as after_death:
        cache.add([first])
        assert known(after_death, files) == []
        now[0] += 1.1
        cache.add([second])
        assert known(after_death, files) == ["a", "notes"]


def test_any_change_is_read_again(tmp_path: Path, files: list[ScannedFile]) -> None:
    with open_cache(tmp_path / "c", "s") as cache:
        cache.add(facts_of(files))
    first, second = files
    with open_cache(tmp_path / "c", "other thresholds") as cache:
        assert known(cache, files) == []
    with open_cache(tmp_path / "c", "s") as cache:
        assert known(cache, [replaced(first, size=1), second]) == [second.relative]
        assert known(cache, [replaced(first, mtime_ns=1), second]) == [second.relative]
        assert known(cache, [replaced(first, relative="b")]) == []


def replaced(file: ScannedFile, **values: object) -> ScannedFile:
    return file._replace(**values)


def test_faults_of_the_moment_are_not_kept(tmp_path: Path, files: list[ScannedFile]) -> None:
    file, _ = files
    with open_cache(tmp_path / "c", "s") as cache:
        for fault in (
            "no_permission", "io_error", "no_decoder", "too_large", "timeout", "memory_limit",
        ):  # fmt: skip
            cache.add([(file, read(Path(file.path))._replace(fault=fault))])
            assert known(cache, [file]) == []
        # An exception that nobody foresaw, and a process that died.
        for fault, name in (("unexpected_content", "KeyError"), ("decode_error", "SIGSEGV")):
            cache.add([(file, read(Path(file.path))._replace(fault=fault, fault_class=name))])
            assert known(cache, [file]) == []
        cache.add([(file, read(Path(file.path))._replace(fault="decode_error"))])
        assert known(cache, [file]) == [file.relative]


def test_files_that_are_gone_are_forgotten(tmp_path: Path, files: list[ScannedFile]) -> None:
    with open_cache(tmp_path / "c", "s") as cache:
        cache.add(facts_of(files))
        cache.keep_only(["notes"])
        assert known(cache, files) == ["notes"]
    assert b"000123" in (tmp_path / "dicom" / "a").read_bytes()
    assert b"000123" not in (tmp_path / "c").read_bytes()


def test_only_the_owner_may_read_it(tmp_path: Path, files: list[ScannedFile]) -> None:
    with open_cache(tmp_path / "c", "s") as cache:
        cache.add(facts_of(files))
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("c*")}
    assert modes == {0o600}


def test_a_file_that_is_no_database_is_replaced(tmp_path: Path, files: list[ScannedFile]) -> None:
    (tmp_path / "c").write_bytes(b"scribbled over by something else" * 99)
    with open_cache(tmp_path / "c", "s") as cache:
        cache.add(facts_of(files))
        assert known(cache, files) == ["a", "notes"]


def test_a_locked_cache_is_left_alone(
    tmp_path: Path, files: list[ScannedFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_cache(tmp_path / "c", "s") as cache:
        cache.add(facts_of(files))
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path: connect(path, timeout=0))
    other = connect(tmp_path / "c")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError), open_cache(tmp_path / "c", "s"):
        pass
    other.close()
    with open_cache(tmp_path / "c", "s") as cache:
        assert known(cache, files) == ["a", "notes"]


def test_a_file_that_has_changed_leaves_no_identity_behind(
    tmp_path: Path, files: list[ScannedFile]
) -> None:
    with open_cache(tmp_path / "c", "s") as cache:
        cache.add(facts_of(files))
    save(ct_slice(PatientID="others"), tmp_path / "dicom" / "a")
    files = scan(tmp_path / "dicom")
    with open_cache(tmp_path / "c", "s") as cache:
        cache.add(facts_of(cache.unread(files)))
        cache.keep_only([file.relative for file in files])
        assert known(cache, files) == ["a", "notes"]
    content = (tmp_path / "c").read_bytes()
    assert b"others" in content
    assert b"000123" not in content


def test_a_cache_of_an_earlier_version_leaves_no_identity_behind(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "c")) as connection, connection:
        connection.execute("CREATE TABLE facts (relative TEXT PRIMARY KEY, facts TEXT)")
        connection.execute("INSERT INTO facts VALUES ('a', 'Thornabee^Greta')")
    with open_cache(tmp_path / "c", "s"):
        pass
    assert b"Thornabee" not in (tmp_path / "c").read_bytes()
