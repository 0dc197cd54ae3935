from pathlib import Path

import pytest
from support.ct_builder import THRESHOLDS, ct_slice, deadly_read, save

from dsnet.dicom.reader import Facts
from dsnet.dicom.scan import ScannedFile, scan
from dsnet.ingest import workers


@pytest.fixture
def many(tmp_path: Path) -> list[ScannedFile]:
    for number in range(70):
        save(ct_slice(PatientID=f"{number}"), tmp_path / f"IM{number:03d}")
    save(ct_slice(PatientID="dead"), tmp_path / "DEADLY")
    (tmp_path / "NOTES.TXT").write_text("nothing")
    return scan(tmp_path)


def by_path(parts: object) -> dict[str, Facts]:
    return {file.relative: facts for part in parts for file, facts in part}


def test_processes_read_what_one_process_reads(many: list[ScannedFile]) -> None:
    alone = by_path(workers.read_all(many, THRESHOLDS, 1))
    together = by_path(workers.read_all(many, THRESHOLDS, 2))
    assert list(alone) == [file.relative for file in many]
    assert together == alone


def test_a_file_that_kills_its_process_is_found_and_the_rest_is_read(
    many: list[ScannedFile],
) -> None:
    facts = by_path(workers.read_all(many, THRESHOLDS, 2, deadly_read))
    assert len(facts) == len(many)
    assert facts.pop("DEADLY").fault == "decode_error"
    assert facts.pop("NOTES.TXT").fault == "not_dicom"
    assert {one.fault for one in facts.values()} == {""}


def test_a_fault_in_the_program_is_not_swallowed(many: list[ScannedFile]) -> None:
    with pytest.raises(TypeError):
        list(workers.read_all(many, THRESHOLDS, 2, int))  # type: ignore[arg-type] - wrong by intent


def test_processes_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(workers, "cpus", lambda: 64)
    monkeypatch.setattr(workers, "_over_processes", lambda *a: asked.append(a[2]) or iter(()))
    files = [ScannedFile(str(number), str(number), 0, 0) for number in range(65)]
    for processes in (0, 3, 12):
        list(workers.read_all(files, THRESHOLDS, processes))
    assert asked == [8, 3, 12]
