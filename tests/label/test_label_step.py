import json
from pathlib import Path

import pandas as pd
import pytest
from dsnet.pseudonym import open_vault

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Dxa, Label
from dsnet.errors import UserError
from dsnet.label.step import label

FILE, IMAGE, SERIES = "F-" + "0" * 16, "I-" + "0" * 16, "S-" + "0" * 16
PATIENT, STUDY = "P-" + "0" * 16, "E-" + "0" * 16


def filled(schema: object, **known: object) -> pd.DataFrame:
    """Return one row of a schema with blanks for what is not known."""
    row = {}
    for name, column in schema.columns.items():  # type: ignore[attr-defined]  # pandera's schema
        kind = str(column.dtype)
        blank: object = "" if "str" in kind else False if kind == "bool" else None
        row[name] = pd.Series([known.get(name, blank)], dtype=kind)
    return pd.DataFrame(row)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "cohort"
    path.mkdir()
    about = {"synthetic": True, "phantom_seed": 1}
    (path / "cohort.json").write_text(json.dumps(about))
    box = dict(zip(schemas.BOX, (1.0, 2.0, 31.0, 42.0), strict=True))
    drawn = {"table": 1, "row": 1, "format": "coco", "file_key": FILE, "level": "L3", **box}
    boxes = filled(schemas.ANNOTATIONS, **drawn, status="used")
    schemas.write(schemas.ANNOTATIONS, boxes, tmp_path / "annotations.csv")
    (path / "dxa.csv").write_text("patient_id,exam_date,L1-L4_t_score\n007,2020-01-01,-1.00\n")
    index = filled(
        schemas.INDEX,
        file_key=FILE,
        image_kind="original",
        vendor="ge",
        contrast="none",
        study_key=STUDY,
        rows=100,
        columns=100,
    )
    identity = filled(
        schemas.MAP, file_key=FILE, relative_path="a.dcm", patient_id="007", ct_date="2020-01-01"
    )
    vault = open_vault(tmp_path / "private", CohortFolder(path), create=True)
    schemas.write(schemas.MAP, identity, vault.map_path)
    schemas.write(schemas.INDEX, index, tmp_path / "index.parquet")
    return path


def run(folder: Path, **judged: str) -> pd.DataFrame:
    results = folder.parent
    known = {"file_key": FILE, "image_key": IMAGE, "patient_key": PATIENT, "decided_by": "rule"}
    schemas.write(schemas.LEDGER, filled(schemas.LEDGER, **known, **judged), results / "ledger.csv")
    label(
        params=Label(),
        dxa=Dxa(),
        cohort=folder,
        private=results / "private",
        index=results / "index.parquet",
        boxes=results / "annotations.csv",
        ledger=results / "ledger.csv",
        labels=results / "labels.csv",
    )
    return schemas.read(schemas.LABELS, results / "labels.csv")


def test_an_included_box_is_labelled(folder: Path) -> None:
    (row,) = run(folder, status="included").to_dict("records")
    assert row == {
        "image_key": IMAGE,
        "file_key": FILE,
        "patient_key": PATIENT,
        "study_key": STUDY,
        "level": "L3",
        "x_min": 1.0,
        "y_min": 2.0,
        "x_max": 31.0,
        "y_max": 42.0,
        "t_score": "-1.00",
        "label": "normal",
    }


def test_an_empty_ledger_says_why(folder: Path) -> None:
    with pytest.raises(UserError, match=r"but found none of 1 files \(no_dxa 1\)"):
        run(folder, status="excluded", criterion="no_dxa")
    assert not (folder.parent / "labels.csv").exists()
