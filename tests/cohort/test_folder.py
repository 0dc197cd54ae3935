import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsnet.cohort.folder import CohortFolder
from dsnet.errors import UserError


@pytest.fixture
def cohort(tmp_path: Path) -> CohortFolder:
    (tmp_path / "dicom" / "a").mkdir(parents=True)
    (tmp_path / "dicom" / "a" / "1").write_bytes(b"slice")
    (tmp_path / "dxa.csv").write_text("patient_id,exam_date\n007,2020-01-01\n")
    (tmp_path / "cohort.json").write_text(json.dumps({"name": "made", "synthetic": True}))
    return CohortFolder(tmp_path)


def test_the_fingerprint_sees_a_date_and_the_shape_does_not(cohort: CohortFolder) -> None:
    fingerprint, shape = cohort.fingerprint(), cohort.shape()
    assert (cohort.fingerprint(), cohort.shape()) == (fingerprint, shape)
    os.utime(cohort.dicom / "a" / "1", ns=(1, 1))
    assert cohort.fingerprint() != fingerprint
    assert cohort.shape() == shape


def test_both_see_a_renamed_file(cohort: CohortFolder) -> None:
    fingerprint, shape = cohort.fingerprint(), cohort.shape()
    (cohort.dicom / "a" / "1").rename(cohort.dicom / "a" / "2")
    assert cohort.fingerprint() != fingerprint
    assert cohort.shape() != shape


def test_the_shape_sees_a_changed_cell_of_the_same_length(cohort: CohortFolder) -> None:
    shape = cohort.shape()
    cohort.dxa.write_text(cohort.dxa.read_text().replace("007", "008"))
    assert cohort.shape() != shape


def test_about(cohort: CohortFolder) -> None:
    assert (cohort.name, cohort.synthetic, cohort.phantom_seed) == ("made", True, None)


def test_a_cohort_without_a_description_counts_as_patients(tmp_path: Path) -> None:
    assert (CohortFolder(tmp_path).name, CohortFolder(tmp_path).synthetic) == ("cohort", False)


def test_a_broken_description_is_said(cohort: CohortFolder) -> None:
    (cohort.path / "cohort.json").write_text("[]")
    with pytest.raises(UserError, match=r"cohort\.json"):
        _ = CohortFolder(cohort.path).name


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_that_leads_nowhere_is_fingerprinted(cohort: CohortFolder) -> None:
    before = cohort.fingerprint()
    (cohort.dicom / "gone").symlink_to("nowhere")
    assert cohort.fingerprint() != before


def test_a_folder_that_may_not_be_entered_stops_nothing(
    cohort: CohortFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cohort.path / "closed").mkdir()
    (cohort.path / "closed" / "1").touch()
    opened, enter = cohort.fingerprint(), os.scandir

    def scandir(folder: bytes) -> Iterator[os.DirEntry[bytes]]:
        if folder.endswith(b"closed"):
            raise PermissionError
        return enter(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    closed = cohort.fingerprint()
    (cohort.path / "closed" / "1").unlink()
    (cohort.path / "closed").rmdir()
    assert closed != opened
    assert closed == cohort.fingerprint()


@pytest.mark.parametrize("table", ["dxa", "clinical", "review"])
def test_each_table_may_be_a_workbook_and_others_are_named(tmp_path: Path, table: str) -> None:
    def path() -> Path:
        return Path(getattr(CohortFolder(tmp_path), table))

    assert path().name == f"{table}.csv"
    (tmp_path / f"{table}.xls").touch()
    with pytest.raises(UserError, match=rf"found {table}\.xls; save it as \.xlsx or as CSV"):
        path()
    (tmp_path / f"{table.upper()}.XLSX").touch()
    assert path().name == f"{table.upper()}.XLSX"
    (tmp_path / f"{table}.csv").touch()
    with pytest.raises(
        UserError, match=rf"found {table.upper()}\.XLSX and {table}\.csv; delete one"
    ):
        path()


def test_other_files_are_no_tables(tmp_path: Path) -> None:
    for name in ("dxa.pdf", "dxa_old.xls", "clinical.md", "~$dxa.xlsx"):
        (tmp_path / name).touch()
    assert CohortFolder(tmp_path).dxa.name == "dxa.csv"
    assert CohortFolder(tmp_path / "nowhere").dxa.name == "dxa.csv"
