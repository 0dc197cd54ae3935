from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.made_tables import GRADED, report, statistic, write

from dsnet.errors import UserError
from dsnet.tables.literature import COLUMNS, compare

METHODS = ("resnet50/ds", "resnet50/none", "hu/thresholds")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "slices.json", {"images": 572})
    detector = report(0.5)
    detector["metrics"] |= {"accuracy": statistic(0.6), "localised_macro_auc": statistic(0.7)}
    detector["metrics"]["patient_sensitivity_osteoporosis"] = dict.fromkeys(statistic(0))
    write(tmp_path / "resnet50/ds.json", detector)
    write(tmp_path / "resnet50/none.json", report(0.4))
    write(tmp_path / "hu/thresholds.json", report(0.3, GRADED))
    return tmp_path


def compared(folder: Path) -> pd.DataFrame:
    table = folder / "table3.csv"
    compare(variants=list(METHODS), metrics=folder, digest=folder / "slices.json", table=table)
    return pd.read_csv(table, dtype=str, keep_default_na=False)


def test_what_the_paper_reports_comes_first_and_unchanged(folder: Path) -> None:
    rows = compared(folder)
    assert list(rows.columns) == list(COLUMNS)
    reported = rows[rows["source"] == "reported"]
    assert reported.index.tolist() == list(range(6))
    printed = reported[["method", "images", "classes", "accuracy", "auc", "recall"]]
    assert printed.to_numpy().tolist()[:2] == [
        ["Machine learning [32]", "120", "2", "", "83.0", ""],
        ["LeNet [33]", "4000", "2", "88.4", "", ""],
    ]
    assert printed.iloc[5].tolist()[1:] == ["4805", "3", "75.9", "", "90.0"]
    assert (reported[["accuracy_low", "test_patients", "unit"]] == "").all(axis=None)


def test_measured_rows_by_unit(folder: Path) -> None:
    rows = compared(folder)
    measured = rows[rows["source"] == "measured"].reset_index(drop=True)
    assert measured["unit"].tolist() == ["box"] * 2 + ["level"] * 3 + ["patient"] * 3
    assert measured["method"].tolist()[2:5] == [
        "Faster R-CNN+ResNet50+DS",
        "Faster R-CNN+ResNet50",
        "HU thresholds",
    ]
    first = measured.iloc[0]
    assert first[["accuracy", "accuracy_low", "accuracy_high"]].tolist() == ["60.0", "50.0", "70.0"]
    assert first[["auc", "recall"]].tolist() == ["70.0", "50.0"]
    assert first[["images", "classes", "test_patients", "test_images"]].tolist() == [
        *["572", "3", "12", "96"]
    ]
    assert set(measured["data"]) == {"phantom (synthetic, not patients)"}


def test_the_papers_figures_stand_beside_its_own_unit_alone(folder: Path) -> None:
    measured = compared(folder).query("source == 'measured'")
    by_box = measured[measured["unit"] == "box"]
    assert by_box["paper_accuracy"].tolist() == ["75.9", "74.1"]
    assert by_box["paper_recall"].tolist() == ["90.0", "88.1"]
    others = measured[measured["unit"] != "box"]
    assert (others[["paper_accuracy", "paper_recall"]] == "").all(axis=None)


def test_undefined_is_an_empty_cell(folder: Path) -> None:
    row = compared(folder).query("unit == 'patient'").iloc[0]
    assert row[["recall", "recall_low", "recall_high"]].tolist() == [""] * 3


@pytest.mark.parametrize(
    "other",
    [
        {"counts": {"patients": 11, "images": 96}},
        {"leaky": True},
        {"slices_sha256": "1" * 64},
    ],
)
def test_methods_evaluated_on_others_are_refused(folder: Path, other: dict[str, Any]) -> None:
    write(folder / "resnet50/none.json", {**report(0.4), **other})
    with pytest.raises(UserError, match="metrics of resnet50/none"):
        compared(folder)
