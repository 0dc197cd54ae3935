import errno
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.ct_builder import THRESHOLDS, ct_slice, deadly_read, save

from dsnet.dicom.reader import UNLIMITED, Facts
from dsnet.dicom.scan import ScannedFile, scan
from dsnet.errors import UserError
from dsnet.ingest import workers

pytestmark = pytest.mark.slow

LIMITS = replace(UNLIMITED, seconds=60, memory_bytes=1 << 30)


@pytest.fixture
def many(tmp_path: Path) -> list[ScannedFile]:
    for number in range(70):
        save(ct_slice(PatientID=f"{number}"), tmp_path / f"IM{number:03d}")
    (tmp_path / "NOTES.TXT").write_text("nothing")
    return scan(tmp_path)


def by_path(chunks: object) -> dict[str, Facts]:
    """Return facts by path, their identifying values in an order that does not matter elsewhere."""
    return {
        file.relative: facts._replace(identifying=tuple(sorted(facts.identifying)))
        for chunk in chunks
        for file, facts in chunk
    }


def read_with(tmp_path: Path, *names: str, processes: int = 1, seconds: float = 60) -> list[Facts]:
    """Read good slices under the names that `deadly_read` goes by, then two ordinary ones."""
    names = (*names, "IM1", "IM2")
    for name in names:
        save(ct_slice(PatientID="dead"), tmp_path / name)
    limits = replace(LIMITS, seconds=seconds)
    facts = by_path(
        workers.read_all(scan(tmp_path), THRESHOLDS, limits, processes, read=deadly_read)
    )
    assert sorted(facts) == sorted(names)
    assert {facts[name].fault for name in ("IM1", "IM2")} == {""}
    return [facts[name] for name in names]


def test_processes_read_what_one_process_reads(many: list[ScannedFile]) -> None:
    alone = by_path(workers.read_all(many, THRESHOLDS, LIMITS, 1))
    together = by_path(workers.read_all(many, THRESHOLDS, LIMITS, 2))
    assert sorted(alone) == [file.relative for file in many]
    assert together == alone


def test_no_file_needs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(workers, "_Worker")
    assert list(workers.read_all([], THRESHOLDS, LIMITS)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_a_file_that_kills_its_process_keeps_its_header(tmp_path: Path, processes: int) -> None:
    for number in range(66 if processes > 1 else 0):
        save(ct_slice(), tmp_path / f"IM0{number:03d}")
    files = scan(tmp_path) if processes > 1 else []
    save(ct_slice(PatientID="dead"), tmp_path / "DEADLY")
    (tmp_path / "NOTES.TXT").write_text("nothing")
    facts = by_path(
        workers.read_all(scan(tmp_path), THRESHOLDS, LIMITS, processes, read=deadly_read)
    )
    assert len(facts) == len(files) + 2
    deadly = facts.pop("DEADLY")
    assert deadly.fault == "decode_error"
    assert deadly.header is not None
    assert deadly.header.patient_id == "dead"
    assert facts.pop("NOTES.TXT").fault == "not_dicom"
    assert {one.fault for one in facts.values()} <= {""}


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_a_process_that_died_is_recorded_by_its_signal(tmp_path: Path) -> None:
    deadly, always, *_ = read_with(tmp_path, "DEADLY", "ALWAYS_DEADLY")
    assert (deadly.fault, deadly.fault_class) == ("decode_error", "SIGSEGV")
    assert (always.fault, always.fault_class, always.header) == ("decode_error", "SIGSEGV", None)


def test_a_file_without_end_is_left_after_its_time(tmp_path: Path) -> None:
    endless, always, *_ = read_with(tmp_path, "ENDLESS", "ALWAYS_ENDLESS", seconds=1)
    assert endless.fault == always.fault == "timeout"
    assert endless.header is not None
    assert always.header is None


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux")
def test_a_file_gets_the_memory_that_is_allowed(tmp_path: Path) -> None:
    huge, always, killed, *_ = read_with(tmp_path, "HUGE", "ALWAYS_HUGE", "KILLED")
    assert huge.fault == always.fault == killed.fault == "memory_limit"
    assert huge.header is not None
    assert always.header is None
    assert (killed.fault_class, killed.header is None) == ("SIGKILL", False)


def test_a_fault_of_the_machine_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ENOSPC") as caught:
        read_with(tmp_path, "FULL")
    assert "FULL" not in str(caught.value)
    assert caught.value.private.endswith("FULL")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC


def test_memory_that_is_not_limited_is_the_machine_s() -> None:
    def fail(*_: object, **__: object) -> Facts:
        raise MemoryError

    answer = workers._answer(fail, "a", THRESHOLDS, LIMITS, decode=True, limited=False)
    assert isinstance(answer, MemoryError)


def test_a_fault_in_the_program_is_not_swallowed(many: list[ScannedFile]) -> None:
    with pytest.raises(TypeError):
        list(workers.read_all(many, THRESHOLDS, LIMITS, 2, read=int))  # type: ignore[arg-type] - wrong by intent


def test_processes_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Idle:
        is_idle = True

        def __init__(self, *_: object) -> None:
            started.append(self)

        def start(self, _: object) -> None:
            """Do nothing at once."""

        def stop(self) -> None:
            """Nothing to end."""

    monkeypatch.setattr(workers, "cpus", lambda: 64)
    monkeypatch.setattr(workers, "_Worker", Idle)
    counts = []
    for number, processes in ((64, 0), (600, 0), (600, 3), (600, 12), (65, 12)):
        started.clear()
        files = [ScannedFile(str(name), str(name), 0, 0) for name in range(number)]
        list(workers.read_all(files, THRESHOLDS, LIMITS, processes))
        counts.append(len(started))
    assert counts == [1, 8, 3, 12, 3]
