from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.made_tables import report, write

from dsnet import schemas
from dsnet.tables.other_data import tabulate_repeats

DETECTOR = "mobilenet_v2/none"


def made(folder: Path, value: float, training: int) -> None:
    """Write metrics and a split of a detector that has `training` patients."""
    write(folder / f"metrics/{DETECTOR}.json", report(value))
    split = pd.DataFrame(
        {
            "image_key": [f"I-{number:016x}" for number in range(training + 1)],
            "patient_key": [f"P-{number:016x}" for number in range(training + 1)],
            "subset": ["test", *["train"] * training],
            "stratum": "normal",
        }
    )
    schemas.write(schemas.SPLIT, split, folder / "split.csv")


@pytest.mark.parametrize("summary", ["spread", "none"])
def test_each_variation_has_its_row_and_splits_their_spread(tmp_path: Path, summary: str) -> None:
    values = {"": 0.5, "repeats/split1": 0.7, "repeats/split2": 0.9}
    for number, (folder, value) in enumerate(values.items()):
        made(tmp_path / folder, value, 10 + number)
    tabulate_repeats(
        detector=DETECTOR,
        variations=["split1", "split2"],
        metrics=tmp_path / "metrics",
        split=tmp_path / "split.csv",
        folder=tmp_path / "repeats",
        table=tmp_path / "repeats.csv",
        summary=summary,
    )
    table = pd.read_csv(tmp_path / "repeats.csv", keep_default_na=False)
    assert table["variation"].tolist()[:3] == ["none", "split1", "split2"]
    assert [int(text) for text in table["training_patients"][:3]] == [10, 11, 12]
    assert [float(text) for text in table["map"][:3]] == [50, 70, 90]
    assert [float(text) for text in table["map_low"][:3]] == [40, 60, 80]
    if summary == "spread":
        assert table["variation"].tolist()[3:] == ["mean", "standard deviation"]
        assert float(table["map"][3]) == 70
        assert float(table["map"][4]) == pytest.approx(np.std([50, 70, 90], ddof=1))
        assert table["map_low"].tolist()[3:] == ["", ""]
    else:
        assert len(table) == 3
