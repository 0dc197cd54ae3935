import json
from pathlib import Path

import pytest
from openpyxl import Workbook
from support.ct_builder import ct_slice, save

from dsnet.cohort.folder import CohortFolder
from dsnet.ingest.other_files import ANNOTATION, PATH, REMARK, TABLE, values_beside


def found(folder: Path, kind: str) -> set[str]:
    return {value.text for value in values_beside(CohortFolder(folder), []) if value.kind == kind}


@pytest.mark.parametrize("separator", [",", ";"])
def test_tables(tmp_path: Path, separator: str) -> None:
    rows = [
        ("MRN", "Name", "Exam Date", "Birth", "Age", "L1_t_score", "BMD", "sex"),
        ("1234", "Thornabee, Greta", "03.04.2021", "19500102", "71", "-1.5", "0.912", "F"),
    ]
    lines = (separator.join(f'"{cell}"' for cell in row) for row in rows)
    (tmp_path / "dxa.csv").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    values = found(tmp_path, TABLE)
    assert values == {"1234", "Thornabee, Greta", "2021-04-03", "2021-03-04", "1950-01-02"}


def test_what_the_ledger_repeats_of_a_review_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "review.csv").write_text(
        "scope,id,decision,code,reason,reviewer,date,patient_key\n"
        "file,F-0123456789abcdef,keep,E1,asked Greta,A. Reader,2024-05-06,P-0123456789abcdef\n"
        "patient,000123,keep,E1,,A. Reader,2024-05-06,\n"
    )
    assert found(tmp_path, TABLE) == {"000123"}
    assert found(tmp_path, REMARK) == {"asked Greta"}


def test_workbooks(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["patient_id", "t_score"])
    book.active.append([506445, -1.5])
    book.save(tmp_path / "dxa.xlsx")
    (tmp_path / "~$dxa.xlsx").write_bytes(b"locked")
    assert found(tmp_path, TABLE) == {"506445"}


def test_annotations(tmp_path: Path) -> None:
    uid = "1.2.826.0.1.3680043.8.498.1"
    coco = {"images": [{"file_name": "Thornabee/IM1", "sop_instance_uid": uid, "width": 512}]}
    (tmp_path / "a.json").write_text(json.dumps(coco))
    (tmp_path / "b.xml").write_text("<a><path>Greta &amp; Co</path><x>12</x></a>")
    (tmp_path / "c.txt").write_text("0 0.5 0.5 0.1 0.1\n# by Thornabee\n")
    (tmp_path / "d.json").write_text("{")
    save(ct_slice(PatientName="Yarrow^Ida"), tmp_path / "seg.dcm")
    values = found(tmp_path, ANNOTATION)
    assert values == {"Thornabee/IM1", uid, "Greta & Co", "# by Thornabee"}
    assert found(tmp_path, "PatientName") == {"Yarrow^Ida"}


def test_paths(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "Greta.nii.gz").write_bytes(b"")
    (tmp_path / "cohort.json").write_text('{"name": "public"}')
    values = values_beside(CohortFolder(tmp_path), ["Thornabee_506445/IM1.dcm"])
    texts = {value.text for value in values if value.kind == PATH}
    assert texts >= {"Greta.nii.gz", "Greta", "Thornabee_506445", "Thornabee", "506445", "IM1"}
    assert "public" not in texts
