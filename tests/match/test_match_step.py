import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.ct_builder import ct_slice, read, save
from support.made_index import UNREADABLE, cohort, key, source_of

from dsnet import schemas
from dsnet.config.cohort import Annotations, Clinical, Dxa, Label
from dsnet.errors import UserError
from dsnet.files import write_json
from dsnet.match.step import match
from dsnet.private import open_private

ROWS: list[dict[str, Any]] = [
    {"uid": "1.2.0"},
    {"uid": "1.2.1", "patient": 2},
    {**UNREADABLE, "path": "NOTES.TXT"},
]
DXA = "patient_id,exam_date,L1-L4_t_score\r\n"
HISTORY = "patient_id,fracture_history,spine_surgery,tumour,bone_hyperplasia\n"
TABLES = {
    "boxes": ("annotations.csv", schemas.ANNOTATIONS),
    "exams": ("exams.csv", schemas.EXAMS),
    "patients": ("patients.csv", schemas.PATIENTS),
    "decisions": ("decisions.csv", schemas.DECISIONS),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a cohort folder of two CT files, with index and private map."""
    path = tmp_path / "cohort"
    index, identities = cohort(*ROWS)
    for number in range(2):
        file = path / "dicom" / "folder" / f"{number:05d}.dcm"
        facts = read(save(ct_slice(SOPInstanceUID=f"1.2.{number}"), file))
        assert facts.evidence is not None
        identities.loc[number, "pixel_hash"] = facts.evidence.pixel_hash
    own = open_private(tmp_path / "private", "0" * 16, create=True)
    schemas.write(schemas.MAP, identities, own.map_path)
    source = source_of(cohort_id=own.cohort_id, key=own.fingerprint)
    write_json(tmp_path / "results" / "cohort" / "source.json", source.to_json())
    schemas.write(schemas.INDEX, index, tmp_path / "results" / "cohort" / "index.parquet")
    return path


def annotate(folder: Path, *file_names: str, level: str = "L1") -> None:
    content = {
        "images": [
            {"id": n, "file_name": name, "width": 256, "height": 256}
            for n, name in enumerate(file_names)
        ],
        "annotations": [
            {"image_id": n, "category_id": 1, "bbox": [100, 100, 50, 40]}
            for n in range(len(file_names))
        ],
        "categories": [{"id": 1, "name": level}],
    }
    (folder / "annotations").mkdir()
    (folder / "annotations" / "coco.json").write_text(json.dumps(content))


def run(folder: Path, label: Label | None = None) -> dict[str, pd.DataFrame]:
    results = folder.parent / "results" / "cohort"
    match(
        annotations=Annotations(),
        dxa=Dxa(),
        clinical=Clinical(),
        label=label or Label(),
        cohort=folder,
        private=folder.parent / "private",
        source=results / "source.json",
        index=results / "index.parquet",
        **{name: results / file for name, (file, _) in TABLES.items()},
    )
    return {name: schemas.read(schema, results / file) for name, (file, schema) in TABLES.items()}


def test_each_table_is_matched_with_the_files(folder: Path) -> None:
    annotate(folder, "folder/00000.dcm", "folder/00001.dcm")
    (folder / "dxa.csv").write_text(DXA + "001,2020-01-02,-1.0\r\n002,2021-01-02,-2.50\r\n")
    (folder / "clinical.csv").write_text(HISTORY + "002,no,yes,,no\n")
    (folder / "review.csv").write_text(
        "scope,id,decision,reviewer,date\npatient,002,exclude,AB,2020-03-01\n"
    )
    made = run(folder)
    assert list(made["boxes"]["status"]) == ["used", "used"]
    assert list(made["boxes"]["file_key"]) == [key("F", 0), key("F", 1)]
    assert list(made["exams"]["patient_key"]) == [key("P", 1), key("P", 2)]
    assert list(made["exams"]["interval_days"]) == ["-1", "-367"]
    assert list(made["exams"]["L1-L4_t_score"]) == ["-1.0", "-2.5"]
    assert list(made["patients"]["spine_surgery"]) == ["", "yes"]
    assert list(made["decisions"]["key"]) == [key("P", 2)]


def test_a_cohort_without_tables_gives_empty_ones(folder: Path) -> None:
    made = run(folder)
    assert made["boxes"].empty
    assert made["exams"].empty
    assert made["decisions"].empty
    assert list(made["patients"]["patient_key"]) == [key("P", 1), key("P", 2)]
    assert not made["patients"][["in_dxa", "in_clinical"]].to_numpy().any()


def test_near_misses_are_named_in_the_private_folder_and_counted_elsewhere(folder: Path) -> None:
    rows = ["001,2020-01-02,-1.0", "001,2019-06-01,-1", "001,,-1", "01,2020-01-01,0"]
    (folder / "dxa.csv").write_text(DXA + "".join(row + "\n" for row in rows))
    made = run(folder)
    assert list(made["exams"]["dxa_row"]) == [4, 3, 2, 5]
    assert list(made["exams"]["status"]) == ["undated", "farther", "nearest", "no_ct"]
    assert list(made["exams"]["interval_days"]) == ["", "214", "-1", ""]
    assert list(made["patients"]["near_misses"]) == [1, 0, 1]
    private = folder.parent / "private" / ("0" * 16) / "id_match.csv"
    assert private.read_text().replace(chr(34), "").splitlines() == [
        "side,patient_id,near_miss,difference",
        "ct,001,01,leading zeros",
        "ct,002,,",
        "dxa,01,001,leading zeros",
    ]
    if os.name != "nt":
        assert private.stat().st_mode & 0o777 == 0o600


def test_a_withdrawn_patient_is_in_no_table(folder: Path) -> None:
    (folder / "dxa.csv").write_text(DXA + "001,2020-01-02,-1.0\n009,2020-01-02,-1.0\n")
    (folder / "clinical.csv").write_text(HISTORY + "001,no,no,,no\n009,no,yes,,no\n")
    own = open_private(folder.parent / "private", "0" * 16)
    gone = own.pseudonym("patient", "009")
    own.withdrawn_path.write_text(f"patient_key,date\n{gone},2026-01-01\n")
    made = run(folder)
    assert list(made["exams"]["patient_key"]) == [key("P", 1)]
    assert list(made["patients"]["patient_key"]) == [key("P", 1), key("P", 2)]
    assert "009" not in own.id_match_path.read_text()


def test_nothing_identifying_enters_a_table(folder: Path) -> None:
    annotate(folder, "folder/00000.dcm")
    (folder / "dxa.csv").write_text(DXA + "001,2020-01-02,-1.0\n0X7Y,2019-12-31,-1\n")
    (folder / "clinical.csv").write_text(HISTORY + "0X7Z,no,no,,no\n001,no,no,,no\n")
    (folder / "review.csv").write_text(
        "scope,id,decision,reviewer,date\nfile,folder/00000.dcm,keep,AB,2020-03-01\n"
    )
    run(folder)
    for file, _ in TABLES.values():
        text = (folder.parent / "results" / "cohort" / file).read_text()
        for secret in ("0X7", ",001,", "00000.dcm", "1.2.0", "2020-01", "2019"):
            assert secret not in text


def test_a_dxa_table_of_other_people_is_one_sentence(folder: Path) -> None:
    (folder / "dxa.csv").write_text(DXA + "1,2020-01-02,-1.0\r\n2,2021-01-02,-1.0\r\n")
    with pytest.raises(UserError, match="none of them among the 2 of the CT"):
        run(folder)
    assert not (folder.parent / "results" / "cohort" / "exams.csv").exists()
    private = folder.parent / "private" / ("0" * 16) / "id_match.csv"
    assert "leading zeros" in private.read_text()


def test_a_clinical_table_of_other_people_is_one_sentence(folder: Path) -> None:
    (folder / "clinical.csv").write_text(HISTORY + "1,yes,no,,no\n2,no,yes,,no\n")
    with pytest.raises(UserError, match=r"clinical table: .* none of them among the 2 of the CT"):
        run(folder)
    private = folder.parent / "private" / ("0" * 16) / "id_match.csv"
    assert "clinical,1,001,leading zeros" in private.read_text().replace(chr(34), "").splitlines()


def test_a_name_in_another_folder_is_named_in_the_private_folder(folder: Path) -> None:
    annotate(folder, "elsewhere/00000.dcm")
    with pytest.raises(UserError, match="but 1 of its name in other folders") as caught:
        run(folder)
    assert "00000" not in str(caught.value)
    private = folder.parent / "private" / ("0" * 16) / "annotation_match.csv"
    assert private.read_text().replace(chr(34), "").splitlines()[1:] == [
        "1,1,elsewhere/00000.dcm,folder/00000.dcm"
    ]


def test_the_t_score_decides_which_columns_are_needed(folder: Path) -> None:
    (folder / "dxa.csv").write_text(DXA + "001,2020-01-02,-1.0\r\n")
    with pytest.raises(UserError, match="expected a column L1_t_score"):
        run(folder, Label(t_score="vertebra"))


def test_a_map_of_another_ingestion_is_one_sentence(folder: Path) -> None:
    index, _ = cohort(*ROWS, {})
    schemas.write(schemas.INDEX, index, folder.parent / "results" / "cohort" / "index.parquet")
    with pytest.raises(UserError, match=r"index\.parquet: expected the files of the private map"):
        run(folder)


def test_another_cohorts_folder_is_refused(folder: Path) -> None:
    for number in range(2):
        file = folder / "dicom" / "folder" / f"{number:05d}.dcm"
        save(ct_slice(SOPInstanceUID=f"9.9.{number}"), file)
    with pytest.raises(UserError, match="results of the configured cohort"):
        run(folder)
