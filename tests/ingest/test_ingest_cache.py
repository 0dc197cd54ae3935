import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from support.ct_builder import ct_slice, read, save

from dsnet.dicom.reader import Facts
from dsnet.dicom.scan import ScannedFile, scan
from dsnet.ingest.cache import open_cache


@pytest.fixture
def files(tmp_path: Path) -> list[ScannedFile]:
    save(ct_slice(), tmp_path / "dicom" / "a")
    (tmp_path / "dicom" / "notes").write_text("nothing")
    return scan(tmp_path / "dicom")


def facts_of(files: list[ScannedFile]) -> list[tuple[ScannedFile, Facts]]:
    return [(file, read(Path(file.path))) for file in files]


def test_what_was_added_comes_back(tmp_path: Path, files: list[ScannedFile]) -> None:
    added = facts_of(files)
    with open_cache(tmp_path / "c", "s") as cache:
        assert cache.known(files) == {}
        cache.add(added)
    with open_cache(tmp_path / "c", "s") as cache:
        assert repr(cache.known(files)) == repr({file.relative: one for file, one in added})


def test_any_change_is_read_again(tmp_path: Path, files: list[ScannedFile]) -> None:
    with open_cache(tmp_path / "c", "s") as cache:
        cache.add(facts_of(files))
    first, second = files
    with open_cache(tmp_path / "c", "other thresholds") as cache:
        assert cache.known(files) == {}
    with open_cache(tmp_path / "c", "s") as cache:
        assert list(cache.known([replaced(first, size=1), second])) == [second.relative]
        assert list(cache.known([replaced(first, mtime_ns=1), second])) == [second.relative]
        assert list(cache.known([replaced(first, relative="b")])) == []


def replaced(file: ScannedFile, **values: object) -> ScannedFile:
    return file._replace(**values)


def test_faults_of_the_moment_are_not_kept(tmp_path: Path, files: list[ScannedFile]) -> None:
    file, _ = files
    with open_cache(tmp_path / "c", "s") as cache:
        for fault in (
            "no_permission", "io_error", "no_decoder", "too_large", "timeout", "memory_limit",
        ):  # fmt: skip
            cache.add([(file, replace(read(Path(file.path)), fault=fault))])
            assert cache.known([file]) == {}
        # An exception that nobody foresaw, and a process that died.
        for fault, name in (("unexpected_content", "KeyError"), ("decode_error", "SIGSEGV")):
            cache.add([(file, replace(read(Path(file.path)), fault=fault, fault_class=name))])
            assert cache.known([file]) == {}
        cache.add([(file, replace(read(Path(file.path)), fault="decode_error"))])
        assert len(cache.known([file])) == 1


def test_files_that_are_gone_are_forgotten(tmp_path: Path, files: list[ScannedFile]) -> None:
    with open_cache(tmp_path / "c", "s") as cache:
        cache.add(facts_of(files))
        cache.keep_only(files[1:])
        assert list(cache.known(files)) == ["notes"]
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
        assert len(cache.known(files)) == 2


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
        assert len(cache.known(files)) == 2
