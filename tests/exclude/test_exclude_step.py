import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from dsnet.pseudonym import open_vault
from support.made_index import UNREADABLE, cohort

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Annotations, Dxa, Exclude
from dsnet.errors import UserError
from dsnet.exclude.step import exclude

ROWS: list[dict[str, Any]] = [{}, {"patient": 2}, UNREADABLE]
DXA = "patient_id,exam_date,L1-L4_t_score\r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "cohort"
    path.mkdir()
    about = {"name": "made", "synthetic": True, "phantom_seed": 1}
    (path / "cohort.json").write_text(json.dumps(about))
    index, identities = cohort(*ROWS)
    vault = open_vault(tmp_path / "private", CohortFolder(path), create=True)
    schemas.write(schemas.MAP, identities, vault.map_path)
    schemas.write(schemas.INDEX, index, tmp_path / "index.parquet")
    return path


def annotate(folder: Path, *file_names: str) -> None:
    content = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(file_names)],
        "annotations": [
            {"image_id": n, "category_id": 1, "bbox": [1, 2, 3, 4]} for n in range(len(file_names))
        ],
        "categories": [{"id": 1, "name": "L1"}],
    }
    (folder / "annotations").mkdir()
    (folder / "annotations" / "coco.json").write_text(json.dumps(content))


def run(folder: Path, reading: str = "patient") -> pd.DataFrame:
    results = folder.parent
    exclude(
        params=Exclude(),
        annotations=Annotations(),
        cohort=folder,
        private=results / "private",
        index=results / "index.parquet",
        boxes=results / "annotations.csv",
        ledger=results / "ledger.csv",
        exclusions=results / "exclusions.csv",
        flow=results / "flow.json",
        exams=results / "dxa_exams.csv",
        dxa=Dxa(),
        reading=reading,
    )
    return schemas.read(schemas.LEDGER, results / "ledger.csv")


def test_tables_become_ledger_patients_and_flow(folder: Path) -> None:
    annotate(folder, "folder/00000.dcm", "folder/00001.dcm")
    (folder / "dxa.csv").write_text(DXA + "001,2020-01-02,-1.0\r\n002,2021-01-02,-1.0\r\n")
    ledger = run(folder)
    assert list(ledger["criterion"]) == ["", "dxa_too_far", "unreadable"]
    assert list(ledger["evidence"]) == ["", "367 days", "not_dicom"]
    patients = schemas.read(schemas.EXCLUSIONS, folder.parent / "exclusions.csv")
    assert list(patients["status"]) == ["included", "excluded"]
    assert json.loads((folder.parent / "flow.json").read_text())["included"]["files"] == 1
    annotations = schemas.read(schemas.ANNOTATIONS, folder.parent / "annotations.csv")
    assert list(annotations["status"]) == ["used", "used"]
    assert list(annotations["file_key"]) == list(ledger["file_key"][:2])


def test_exams_and_lone_ids_are_listed(folder: Path) -> None:
    annotate(folder, "folder/00000.dcm", "folder/00001.dcm")
    rows = ["001,2020-01-02,-1.0", "001,2019-06-01,-1", "001,,-1", "01,2020-01-01,0"]
    (folder / "dxa.csv").write_text(DXA + "".join(row + "\n" for row in rows))
    run(folder)
    exams = schemas.read(schemas.DXA_EXAMS, folder.parent / "dxa_exams.csv")
    assert list(exams["dxa_row"]) == [4, 3, 2]
    assert list(exams["choice"]) == ["undated", "farther", "counts"]
    assert list(exams["interval_days"]) == ["", "214", "-1"]
    (private,) = (folder.parent / "private").rglob("id_match.csv")
    assert private.stat().st_mode & 0o777 == 0o600
    assert private.read_text().splitlines() == [
        "side,patient_id,near_miss,difference",
        "ct,002,,",
        "dxa,01,001,leading zeros",
    ]
    assert json.loads((folder.parent / "flow.json").read_text())["identity"] == {
        "dxa_patients": 2,
        "matched": 1,
        "ct_without_dxa": 1,
        "dxa_without_ct": 1,
        "near_misses": 1,
    }


def test_a_cohort_without_tables_reaches_the_ledger(folder: Path) -> None:
    ledger = run(folder)
    assert list(ledger["all_criteria"]) == [
        "no_annotation;not_lumbar;no_dxa",
        "no_annotation;not_lumbar;no_dxa",
        "unreadable",
    ]


def test_a_dxa_table_of_other_people_is_one_sentence(folder: Path) -> None:
    (folder / "dxa.csv").write_text(DXA + "1,2020-01-02,-1.0\r\n2,2021-01-02,-1.0\r\n")
    with pytest.raises(UserError, match="none of them among the 2 of the CT"):
        run(folder)
    assert not (folder.parent / "ledger.csv").exists()


def test_the_reading_is_handed_on(folder: Path) -> None:
    (folder / "dxa.csv").write_text(DXA + "001,2020-01-02,-1.0\r\n")
    with pytest.raises(UserError, match="expected a column L1_t_score"):
        run(folder, "vertebra")
    with pytest.raises(UserError, match=r"label\.t_score"):
        run(folder, "spine")


def test_a_map_of_another_ingestion_is_one_sentence(folder: Path) -> None:
    index, _ = cohort(*ROWS, {})
    schemas.write(schemas.INDEX, index, folder.parent / "index.parquet")
    with pytest.raises(UserError, match=r"index\.parquet: expected the files that the private map"):
        run(folder)


def test_a_reader_is_heard(folder: Path) -> None:
    (folder / "review.csv").write_text(
        "scope,id,decision,reviewer,date\npatient,002,exclude,AB,2020-03-01\n"
    )
    assert list(run(folder)["criterion"]) == ["no_annotation", "review", "unreadable"]
