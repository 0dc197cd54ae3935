from pathlib import Path

import pandas as pd
import pytest

from dsnet import schemas
from dsnet.audit.review import COLUMNS, write_review_list
from dsnet.cohort.review import read_review
from dsnet.errors import UserError


def key(letter: str, number: int) -> str:
    return f"{letter}-{number:016d}"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    flags = ["", "cement?;metal_artefact?", "contrast_enhanced;cement?", ""]
    rows = [
        {
            "file_key": key("F", number),
            "image_key": key("I", number),
            "patient_key": key("P", 1),
            "status": "excluded" if "contrast" in flag else "included",
            "evidence": "cement: dense piece of 40 mm2" if number == 1 else "",
            "decided_by": "rule",
            "all_criteria": flag,
        }
        for number, flag in enumerate(flags)
    ]
    columns = list(schemas.LEDGER.columns)
    ledger = pd.DataFrame(rows).reindex(columns=columns, fill_value="").fillna("")
    schemas.write(schemas.LEDGER, ledger, tmp_path / "cohort" / "ledger.csv")
    return tmp_path


def predict(results: Path, scores: dict[int, float]) -> None:
    split = pd.DataFrame(
        {
            "image_key": [key("I", number) for number in (0, 1, 3)],
            "patient_key": key("P", 1),
            "subset": ["test", "train", "test"],
            "stratum": "normal",
        }
    )
    schemas.write(schemas.SPLIT, split, results / "cohort" / "split.csv")
    found = pd.DataFrame({"image_key": [key("I", number) for number in scores]})
    edges = dict.fromkeys(schemas.BOX, 1.0)
    chances = dict.fromkeys(["p_background", *(f"p_{name}" for name in schemas.CLASSES)], 0.25)
    found = found.assign(**edges, label="normal", score=list(scores.values()), **chances)
    path = results / "predictions" / "resnet50/none/seed0" / "test.parquet"
    schemas.write(schemas.PREDICTIONS, found, path)


def test_flags_and_low_confidence_make_a_table_to_fill_in(results: Path) -> None:
    predict(results, {0: 0.9, 3: 0.31})
    output = results / "list.csv"
    assert write_review_list(output, results, "resnet50/none/seed0", score=0.5) == 2
    table = pd.read_csv(output, dtype=str, keep_default_na=False)
    assert list(table.columns) == list(COLUMNS)
    assert list(table["id"]) == [key("F", 1), key("F", 3)]
    assert list(table["code"]) == ["cement;metal_artefact", "low_confidence"]
    assert list(table["reason"]) == ["cement: dense piece of 40 mm2", "surest detection 0.31"]
    assert read_review(output) == []
    table.assign(decision="keep", reviewer="AB", date="2020-01-01").to_csv(output, index=False)
    assert [one.target for one in read_review(output)] == list(table["id"])


def test_an_image_without_detection_is_unsure(results: Path) -> None:
    predict(results, {0: 0.9})
    write_review_list(results / "list.csv", results, "resnet50/none/seed0", score=0.5)
    assert "nothing detected" in (results / "list.csv").read_text()


def test_a_readers_work_is_never_overwritten(results: Path) -> None:
    (results / "list.csv").touch()
    with pytest.raises(UserError, match="may hold decisions"):
        write_review_list(results / "list.csv", results, "resnet50/none/seed0", score=0.5)


def test_before_training_the_flags_are_listed(results: Path) -> None:
    assert write_review_list(results / "list.csv", results, "resnet50/se/seed0", score=0.5) == 1
