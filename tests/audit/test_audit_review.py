from pathlib import Path

import pandas as pd
import pytest
from support.made_results import tables_of, write_results

from dsnet import schemas
from dsnet.audit.contact_sheet import REVIEW_COLUMNS, write_review_list
from dsnet.errors import UserError
from dsnet.match.step import read_review
from dsnet.results import Results


def key(letter: str, number: int) -> str:
    return f"{letter}-{number:016d}"


@pytest.fixture
def results(tmp_path: Path) -> Results:
    flags = ["", "cement?;metal_artefact?", "contrast_enhanced;cement?", ""]
    rows = [
        {
            **{f"{name}_key": key(name[0].upper(), number) for name in ("file", "image")},
            **{"patient_key": key("P", 1), "study_key": key("E", 1), "series_key": key("S", 1)},
            "status": "excluded" if "contrast" in flag else "included",
            "criterion": "contrast_enhanced" if "contrast" in flag else "",
            "code": "",
            "reason": "",
            "evidence": "cement: dense area of 40 mm2" if number == 1 else "",
            "threshold": "",
            "decided_by": "rule",
            "all_criteria": flag,
        }
        for number, flag in enumerate(flags)
    ]
    made = write_results(tmp_path, tables_of(pd.DataFrame(rows)))
    return made.results


def predict(results: Results, scores: dict[int, float]) -> None:
    """Write predictions on the subset of the only patient, under the name of each of the two."""
    split = schemas.read(schemas.SPLIT, results.cohort / "split.csv")
    schemas.write(schemas.SPLIT, split.assign(subset="test"), results.cohort / "split.csv")
    detections = pd.DataFrame({"image_key": [key("I", number) for number in scores]})
    edges = dict.fromkeys(schemas.BOX, 1.0)
    chances = dict.fromkeys(["p_background", *(f"p_{name}" for name in schemas.CLASSES)], 0.25)
    detections = detections.assign(**edges, label="normal", score=list(scores.values()), **chances)
    path = results.folder / "predictions" / "resnet50/none/seed0" / "test.parquet"
    schemas.write(schemas.PREDICTIONS, detections, path)


def test_flags_and_low_confidence_make_a_table_to_fill_in(results: Results) -> None:
    predict(results, {0: 0.9, 1: 0.8, 3: 0.31})
    output = results.folder / "list.csv"
    assert write_review_list(output, results, "resnet50/none/seed0", score=0.5) == 2
    table = pd.read_csv(output, dtype=str, keep_default_na=False)
    assert list(table.columns) == list(REVIEW_COLUMNS)
    assert list(table["id"]) == [key("F", 1), key("F", 3)]
    assert list(table["code"]) == ["cement;metal_artefact", "low_confidence"]
    assert list(table["reason"]) == ["cement: dense area of 40 mm2", "surest detection 0.31"]
    assert read_review(output) == []
    table.assign(decision="keep", reviewer="AB", date="2020-01-01").to_csv(output, index=False)
    assert [one.target for one in read_review(output)] == list(table["id"])


def test_boxes_with_little_bone_are_listed(results: Results) -> None:
    path = results.cohort / "box_checks.csv"
    checks = schemas.read(schemas.BOX_CHECKS, path)
    flagged = checks["image_key"] == key("I", 3)
    checks.loc[flagged, "bone_fraction"] = 0.0312
    checks.loc[flagged, "flag"] = "little_bone"
    schemas.write(schemas.BOX_CHECKS, checks, path)
    predict(results, {0: 0.9, 1: 0.8, 3: 0.31})
    output = results.folder / "list.csv"
    write_review_list(output, results, "resnet50/none/seed0", score=0.5)
    table = pd.read_csv(output, dtype=str, keep_default_na=False).set_index("id")
    (level,) = checks.loc[flagged, "level"]
    assert table.loc[key("F", 3), "code"] == "little_bone; low_confidence"
    assert table.loc[key("F", 3), "reason"] == (
        f"3.1% bone in the box of {level}; surest detection 0.31"
    )


def test_before_the_slices_are_stored_no_box_is_listed(results: Results) -> None:
    (results.cohort / "box_checks.csv").unlink()
    write_review_list(results.folder / "list.csv", results, "resnet50/se/seed0", score=0.5)
    assert "little_bone" not in (results.folder / "list.csv").read_text()


def test_an_image_without_detection_is_unsure(results: Results) -> None:
    predict(results, {0: 0.9, 1: 0.8})
    write_review_list(results.folder / "list.csv", results, "resnet50/none/seed0", score=0.5)
    assert "nothing detected" in (results.folder / "list.csv").read_text()


def test_a_readers_work_is_never_overwritten(results: Results) -> None:
    (results.folder / "list.csv").touch()
    with pytest.raises(UserError, match="may hold decisions"):
        write_review_list(results.folder / "list.csv", results, "resnet50/none/seed0", score=0.5)


def test_before_training_the_flags_are_listed(results: Results) -> None:
    assert (
        write_review_list(results.folder / "list.csv", results, "resnet50/se/seed0", score=0.5) == 1
    )
