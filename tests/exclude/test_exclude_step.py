import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.made_index import (
    PRIVATE,
    UNREADABLE,
    boxes,
    cohort,
    decisions,
    dxa,
    exam,
    key,
    of_ct,
    patients,
    source_of,
    typed,
)

from dsnet import schemas
from dsnet.cohort.exams import exams_table
from dsnet.config.cohort import Exclude, Label
from dsnet.exclude.step import exclude, match_counts
from dsnet.match.patients import near_misses_sentence

ROWS: list[dict[str, Any]] = [{}, {"patient": 2}, UNREADABLE]
INPUTS = {
    "index": "index.parquet",
    "boxes": "annotations.csv",
    "exams": "exams.csv",
    "patients": "patients.csv",
    "decisions": "decisions.csv",
}
OUTPUTS = {"ledger": "ledger.csv", "exclusions": "exclusions.csv", "flow": "flow.json"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the tables of two patients, of whom the second has an exam a year later."""
    path = tmp_path / "cohort"
    path.mkdir()
    index, identities = cohort(*ROWS)
    annotated = boxes((0, "L1"), (1, "L1")).assign(
        table=1, row=[1, 2], format="coco", area_mm2=480.0, read_as="", status="used"
    )
    measured = dxa(exam("001", L1="-1.0", spine="-1.0"), exam("002", "2021-01-02", row=3))
    people = patients({"1": {}, "2": {"in_clinical": False}})
    source = source_of()
    (path / "source.json").write_text(json.dumps(source.to_json()))
    tables = {
        "index": (schemas.INDEX, index),
        "boxes": (schemas.ANNOTATIONS, annotated[list(schemas.ANNOTATIONS.columns)]),
        "exams": (schemas.EXAMS, exams_table(of_ct(index, identities), measured, PRIVATE)),
        "patients": (schemas.PATIENTS, people),
        "decisions": (schemas.DECISIONS, decisions()),
    }
    for name, (schema, table) in tables.items():
        schemas.write(schema, table, path / INPUTS[name])
    return path


def run(folder: Path, label: Label | None = None) -> pd.DataFrame:
    paths = {name: folder / file for name, file in {**INPUTS, **OUTPUTS}.items()}
    exclude(exclude=Exclude(), label=label or Label(), source=folder / "source.json", **paths)
    return schemas.read(schemas.LEDGER, folder / "ledger.csv")


def test_tables_become_ledger_patients_and_flow(folder: Path) -> None:
    ledger = run(folder)
    assert list(ledger["criterion"]) == ["", "dxa_too_far", "unreadable"]
    assert list(ledger["evidence"]) == ["", "367 days", "not_dicom"]
    assert list(ledger["study_key"]) == [key("E", 1), key("E", 2), ""]
    by_patient = schemas.read(schemas.EXCLUSIONS, folder / "exclusions.csv")
    assert list(by_patient["status"]) == ["included", "excluded"]
    flow = json.loads((folder / "flow.json").read_text())
    assert flow["included"]["files"] == 1
    assert flow["cohort"] == {"name": "made", "synthetic": True}
    assert flow["identity"]["matched"] == 2


def test_a_cohort_without_tables_reaches_the_ledger(folder: Path) -> None:
    for name in ("annotations.csv", "exams.csv", "patients.csv"):
        header = (folder / name).read_text().splitlines()[0]
        (folder / name).write_text(header + "\n")
    assert list(run(folder)["all_criteria"]) == [
        "no_annotation;not_lumbar;no_dxa",
        "no_annotation;not_lumbar;no_dxa",
        "unreadable",
    ]


def test_the_t_score_is_that_of_the_config(folder: Path) -> None:
    by_level = run(folder, Label(t_score="vertebra"))
    assert list(by_level["criterion"]) == ["", "no_t_score", "unreadable"]
    assert run(folder, Label(t_score="lowest"))["criterion"][0] == "no_t_score"


def test_only_boxes_that_count_are_evidence(folder: Path) -> None:
    table = schemas.read(schemas.ANNOTATIONS, folder / "annotations.csv")
    table["status"] = ["used", "conflict"]
    schemas.write(schemas.ANNOTATIONS, table, folder / "annotations.csv")
    assert run(folder)["all_criteria"][1] == "no_annotation;not_lumbar;dxa_too_far"


def test_a_readers_decision_counts(folder: Path) -> None:
    table = decisions(("patient", key("P", 1), "exclude", 2))
    schemas.write(schemas.DECISIONS, table, folder / "decisions.csv")
    ledger = run(folder)
    assert list(ledger["criterion"]) == ["review", "dxa_too_far", "unreadable"]
    assert list(ledger["decided_by"]) == ["review row 2 (AB, 2020-03-01)", "rule", "rule"]


def test_histories_come_by_patient_key(folder: Path) -> None:
    table = patients({"1": {"spine_surgery": "yes"}, "2": {"tumour": "no"}})
    schemas.write(schemas.PATIENTS, table, folder / "patients.csv")
    ledger = run(folder)
    assert ledger["evidence"][0] == "spine_surgery: yes"
    flow = json.loads((folder / "flow.json").read_text())
    assert flow["included"]["files"] == 0


def test_patients_of_both_sides_are_counted_once() -> None:
    more = {"patient": 2}, {"patient": 6}
    index, _ = cohort({}, {}, *more, {"patient": 3, "patient_id": ""}, UNREADABLE)
    sides = {
        "1": {"in_dxa": True, "near_misses": 0},
        "2": {"in_dxa": False, "near_misses": 2},
        "3": {"in_dxa": False},
        "4": {"in_dxa": True, "in_ct": False, "near_misses": 1},
        "5": {"in_dxa": False, "in_ct": False},
        "6": {"in_dxa": False},
    }
    # The patient whose header gives no ID could not be in the DXA table.
    score = {"L1-L4_t_score": "-2.5", "L1-L4_t_score_raw": "-2.45"}
    blank = dict.fromkeys(schemas.EXAMS.columns, "")
    exams = pd.DataFrame([{**blank, "dxa_row": 2, **score}, {**blank, "dxa_row": 3}])
    assert match_counts(index, patients(sides), exams) == {
        "dxa_patients": 2,
        "matched": 1,
        "ct_without_dxa": 2,
        "dxa_without_ct": 1,
        "near_misses": 2,
        "rounded_exams": 1,
    }
    assert str(near_misses_sentence({"near_misses": 2})).startswith("2 patient IDs nearly equal")
    none = typed(schemas.PATIENTS, [])
    assert set(match_counts(index[:0], none, exams[:0]).values()) == {0}
