import json
from pathlib import Path

import pandas as pd
import pytest
from support.made_tables import report, write

from dsnet import schemas
from dsnet.schemas import CLASSES
from dsnet.tables.detectors import record

VARIANTS = ["resnet50/none", "resnet50/ds"]
CURVE = {"recall": [0.5, 1.0], "precision": [0.9, 0.6]}
CALIBRATION = {
    "confidence": [None, 0.52, 0.97],
    "accuracy": [None, 0.5, 0.9],
    "count": [0, 3, 4],
}


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    history = pd.DataFrame({name: [0.25, 0.5] for name in schemas.HISTORY.columns})
    for number, variant in enumerate(VARIANTS):
        content = report(0.5 + number / 4)
        content["curves"] = {
            # A class without a box of its own has no curve.
            "pr": {name: CURVE if name != "normal" else None for name in CLASSES},
            "calibration": {"before": CALIBRATION},
        }
        write(tmp_path / "metrics" / f"{variant}.json", content)
        path = tmp_path / "models" / variant / "seed3" / "history.csv"
        path.parent.mkdir(parents=True)
        schemas.write(schemas.HISTORY, history.assign(epoch=[1, 2]), path)
    record(
        variants=VARIANTS,
        seeds=[3, 5],
        metrics=tmp_path / "metrics",
        models=tmp_path / "models",
        folder=tmp_path / "recorded",
    )
    return tmp_path / "recorded"


def test_a_detector_is_a_row_of_nine_numbers_in_percent(recorded: Path) -> None:
    row = json.loads((recorded / "resnet50_ds.json").read_text(encoding="utf-8"))
    assert len(row) == 9
    assert (row["map"], row["map_low"], row["recall_high"]) == (75.0, 65.0, 85.0)


def test_plots_have_a_column_for_each_detector(recorded: Path) -> None:
    learning = pd.read_csv(recorded / "learning.csv")
    assert list(learning["epoch"]) == [1, 2]
    assert list(learning["resnet50_ds_validation_map"]) == [0.25, 0.5]
    curve = pd.read_csv(recorded / "precision_recall.csv").set_index("x")
    assert list(curve.columns) == ["resnet50_none", "resnet50_ds"]
    assert curve.loc[[0.0, 0.5, 0.55, 1.0], "resnet50_ds"].tolist() == [0.9, 0.9, 0.6, 0.6]
    right = pd.read_csv(recorded / "calibration.csv").set_index("x")
    assert right["resnet50_none"].to_dict() == {0.5: 0.5, 0.95: 0.9}
