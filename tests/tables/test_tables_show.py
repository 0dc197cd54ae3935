import json
from pathlib import Path

import pandas as pd
import pytest

from dsnet.errors import UserError
from dsnet.tables.show import show
from dsnet.tables.step import COLUMNS


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Path]:
    """A table of one detector whose box AP has no interval."""
    row = dict.fromkeys(COLUMNS, "")
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
    summary |= {"speed": {"name": "a CPU", "threads": 2, "size_px": 128}}
    paths["summary"].write_text(json.dumps(summary))
    return paths


def test_prints_intervals_paper_and_what_the_data_are(
    made: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    show(**made)
    printed = capsys.readouterr().out
    for text in (
        "61.2",
        "50.0-70.0",
        "paper 83.4",
        "[odd] name (synthetic, not patients)",
        "12 test patients, 96 images",
        "Not a medical device",
        "reading 13",
        "a CPU, 2 threads, 128 px",
    ):
        assert text in printed, text


def test_no_table_yet(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a table, but found no file"):
        show(table=tmp_path / "table1.csv", summary=tmp_path / "metrics.json")
