import io
import json
import os
import zipfile
from pathlib import Path

import pytest
from openpyxl import Workbook
from support.ct_builder import ct_slice, save

from dsnet.cohort.folder import CohortFolder
from dsnet.ingest import other_files
from dsnet.ingest.other_files import ANNOTATION, PATH, REMARK, TABLE, values_beside


def texts(folder: Path, kind: str) -> set[str]:
    values, _ = values_beside(CohortFolder(folder), [])
    return {value.text for value in values if value.kind == kind}


def not_searched(folder: Path) -> list[tuple[str, str, str]]:
    return [tuple(file) for file in values_beside(CohortFolder(folder), []).not_searched]


@pytest.mark.parametrize("separator", [",", ";"])
def test_tables(tmp_path: Path, separator: str) -> None:
    rows = [
        ("MRN", "Name", "Exam Date", "Birth", "Age", "L1_t_score", "BMD", "sex"),
        ("1234", "Thornabee, Greta", "03.04.2021", "19500102", "71", "-1.5", "0.912", "F"),
    ]
    lines = (separator.join(f'"{cell}"' for cell in row) for row in rows)
    (tmp_path / "dxa.csv").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    values = texts(tmp_path, TABLE)
    assert values == {"1234", "Thornabee, Greta", "2021-04-03", "2021-03-04", "1950-01-02"}


def test_what_the_ledger_repeats_of_a_review_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "review.csv").write_text(
        "scope,id,decision,code,reason,reviewer,date,patient_key\n"
        "file,F-0123456789abcdef,keep,E1,asked Greta,A. Reader,2024-05-06,P-0123456789abcdef\n"
        "patient,000123,keep,E1,,A. Reader,2024-05-06,\n"
    )
    assert texts(tmp_path, TABLE) == {"000123"}
    assert texts(tmp_path, REMARK) == {"asked Greta"}


def test_workbooks(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["patient_id", "t_score"])
    book.active.append([506445, -1.5])
    book.save(tmp_path / "dxa.xlsx")
    (tmp_path / "~$dxa.xlsx").write_bytes(b"locked")
    assert texts(tmp_path, TABLE) == {"506445"}


def test_annotations(tmp_path: Path) -> None:
    uid = "1.2.826.0.1.3680043.8.498.1"
    coco = {"images": [{"file_name": "Thornabee/IM1", "sop_instance_uid": uid, "width": 512}]}
    (tmp_path / "a.json").write_text(json.dumps(coco))
    (tmp_path / "b.xml").write_text("<a><path>Greta &amp; Co</path><x>12</x></a>")
    (tmp_path / "c.txt").write_text("0 0.5 0.5 0.1 0.1\n# by Thornabee\n")
    (tmp_path / "d.json").write_text("{")
    save(ct_slice(PatientName="Yarrow^Ida"), tmp_path / "seg.dcm")
    values = texts(tmp_path, ANNOTATION)
    assert values == {"Thornabee/IM1", uid, "Greta & Co", "# by Thornabee"}
    assert texts(tmp_path, "PatientName") == {"Yarrow^Ida"}


def test_paths(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "Greta.nii.gz").write_bytes(b"")
    (tmp_path / "cohort.json").write_text('{"name": "public"}')
    beside = values_beside(CohortFolder(tmp_path), ["Thornabee_506445/IM1.dcm"])
    paths = {value.text for value in beside.values if value.kind == PATH}
    assert paths >= {"Greta.nii.gz", "Greta", "Thornabee_506445", "Thornabee", "506445", "IM1"}
    assert "public" not in paths
    assert beside.not_searched == []


def test_odd_files_are_named_and_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('patient_id,note\n000123,x\n000124,"' + "y" * 140_000)
    (tmp_path / "b.xlsx").write_bytes(b"Thornabee" * 400)
    whole = io.BytesIO()
    Workbook().save(whole)
    (tmp_path / "c.xlsx").write_bytes(without_end(whole.getvalue(), "xl/workbook.xml"))
    (tmp_path / "d.json").write_text("[" * 5000)
    (tmp_path / "e.json").write_text("{")
    (tmp_path / "f.docx").write_bytes(b"PK")
    (tmp_path / "LICENSE").write_text("free " * 99)
    (tmp_path / "g.txt").symlink_to(tmp_path / "nowhere")
    cut = save(ct_slice(), tmp_path / "h.dcm").read_bytes()
    (tmp_path / "h.dcm").write_bytes(cut[:128] + b"DICM" + b"\x02\x00\x00\x00XX\x00\x00\xff\xff")
    (tmp_path / "table.csv").write_text("patient_id\n000999\n")
    kinds = {relative: (kind, cause) for kind, relative, cause in not_searched(tmp_path)}
    assert kinds.pop("h.dcm", ("dicom", ""))[0] == "dicom"
    assert kinds == {
        "a.csv": ("table", "Error"),
        "b.xlsx": ("workbook", "BadZipFile"),
        "c.xlsx": ("workbook", "ParseError"),
        "d.json": ("json", "RecursionError"),
        "e.json": ("json", "JSONDecodeError"),
        "f.docx": ("other", "not read"),
        "LICENSE": ("other", "not read"),
        "g.txt": ("text", "FileNotFoundError"),
    }
    assert "000999" in texts(tmp_path, TABLE)


def without_end(workbook: bytes, member: str) -> bytes:
    """Return a workbook one of whose XML files is cut."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook)) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[: len(content) // 2] if name == member else content)
    return written.getvalue()


def test_text_of_an_odd_length_is_searched_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("by Thornabee".encode("utf-16") + b"x")
    assert texts(tmp_path, ANNOTATION) == {"by Thornabee\ufffd"}
    assert not_searched(tmp_path) == []


def test_a_file_that_would_fill_the_memory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_files, "_LARGEST_BYTES", 20_000)
    (tmp_path / "a.csv").write_text("patient_id\n" + "1\n" * 10_000)
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/sheet.xml", bytes(30_000))
    assert not_searched(tmp_path) == [
        ("table", "a.csv", "too large"),
        ("workbook", "b.xlsx", "ValueError"),
    ]


def test_a_folder_that_may_not_be_entered_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.txt").write_text("Thornabee")
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "a.txt").write_text("Yarrow")
    real = os.scandir

    def scandir(folder: str) -> object:
        if str(folder).endswith("annotations"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert not_searched(tmp_path) == [("folder", "annotations", "PermissionError")]
    assert texts(tmp_path, ANNOTATION) == set()


def test_a_fault_of_the_machine_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    (tmp_path / "a.csv").write_text("patient_id\n1\n")
    monkeypatch.setattr(other_files, "_table", fail)
    with pytest.raises(MemoryError):
        not_searched(tmp_path)
