import json
from pathlib import Path

import pandas as pd
import pytest

from dsnet.errors import UserError
from dsnet.tables import detectors, literature


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Path]:
    """A table of one detector whose box AP has no interval."""
    row = dict.fromkeys(detectors.COLUMNS, "")
    row |= {"method": "Faster R-CNN", "backbone": "resnet50", "attention": "ds"}
    row |= {"map": "61.23", "fps": "2.5", "parameters_m": "43.1", "paper_map": "83.4"}
    paths = {"table": tmp_path / "table1.csv", "summary": tmp_path / "metrics.json"}
    pd.DataFrame([row]).to_csv(paths["table"], index=False)
    bounds: dict[str, float | None] = {
        f"{name}{suffix}": value
        for name in ("map", "recall", "accuracy", "box_ap50")
        for suffix, value in (("", 0.6123), ("_low", 0.5), ("_high", 0.7))
    }
    bounds |= {"box_ap50_low": None, "box_ap50_high": None}
    summary = {"data": "[odd] name (synthetic, not patients)", "test_patients": 12}
    summary |= {"test_images": 96, "iou": 0.5, "score": 0.5, "resnet50": {"ds": bounds}}
    summary |= {"scope": "patients; this one training"}
    summary |= {"speed": {"name": "a CPU", "threads": 2, "size_px": 128}}
    paths["summary"].write_text(json.dumps(summary))
    return paths


def test_prints_intervals_paper_and_what_the_data_are(
    made: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    detectors.show(**made)
    printed = " ".join(capsys.readouterr().out.split())
    for text in (
        "61.2",
        "50.0-70.0",
        "paper 83.4",
        "[odd] name (synthetic, not patients)",
        "12 test patients, 96 images",
        "Not a medical device",
        "interpretation 13",
        "95 % interval (random: patients; this one training)",
        "a CPU, 2 threads, 128 px",
    ):
        assert text in printed, text


def test_no_table_yet(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a table, but found no file"):
        detectors.show(table=tmp_path / "table1.csv", summary=tmp_path / "metrics.json")


def test_literature_distinguishes_reported_from_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shared = {"images": 572, "classes": 3, "recall": None}
    reported = {"method": "LeNet [33]", "source": "reported", "accuracy": 88.4, **shared}
    measured = {"method": "HU thresholds", "source": "measured", "unit": "patient", **shared}
    measured |= {"accuracy": 57.14, "accuracy_low": 35.71, "accuracy_high": 78.57}
    measured |= {"measures": "accuracy: class right", "data": "phantom (synthetic, not patients)"}
    table = tmp_path / "table3.csv"
    rows = pd.DataFrame([reported, measured])
    rows.reindex(columns=list(literature.COLUMNS)).to_csv(table, index=False)
    literature.show(table=table)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if "LeNet" in line or "HU thr" in line] == [
        ["LeNet", "[33]", "reported", "572", "3", "88.4", "-", "-"],
        ["HU", "thresholds", "patient", "572", "3", "57.1", "-", "-"],
    ]
    assert "35.7-78.6" in " ".join(lines).split()
    assert "By patient: accuracy: class right." in lines
    assert "Data: phantom (synthetic, not patients). Not a medical device." in lines
