from pathlib import Path

import pandas as pd
import pytest
from support.made_tables import report, statistic, write

from dsnet.errors import UserError
from dsnet.tables.other_data import PLAIN, tabulate_external


def made(value: float, patients: int, **more: object) -> dict[str, object]:
    after = {name.removeprefix("localised_"): statistic(value / 2) for name in PLAIN}
    content = report(value)
    content["counts"] = {**content["counts"], "patients": patients}
    return {**content, "calibration": {"temperature": 1.5, "after": after}, **more}


def tabulate(folder: Path) -> pd.DataFrame:
    tabulate_external(
        variants=["resnet50/ds"],
        cohorts=["north"],
        metrics=folder / "metrics",
        external=folder / "external",
        table=folder / "external.csv",
    )
    return pd.read_csv(folder / "external.csv")


def test_internal_and_external_stand_side_by_side(tmp_path: Path) -> None:
    write(tmp_path / "metrics/resnet50/ds.json", made(0.8, 12))
    taken = {"external": {"weights_sha256": ["a" * 64]}, "cohort": "north"}
    write(tmp_path / "external/north/metrics/resnet50/ds.json", made(0.6, 40, **taken))
    table = tabulate(tmp_path)
    assert table["cohort"].tolist() == ["internal", "north"]
    assert table["test_patients"].tolist() == [12, 40]
    assert table["map"].tolist() == [80, 60]
    assert table["localised_brier"].tolist() == [0.8, 0.6]
    assert table["localised_brier_scaled"].tolist() == [0.4, 0.3]
    assert table["weights_sha256"].tolist()[1] == "a" * 64
    # Each bound lies 10 points off its value: the difference's lie the root of two farther off.
    row = table.iloc[1]
    assert (row["map_difference"], row["map_difference_low"]) == pytest.approx((-20, -34.14))
    assert row["map_difference_high"] == pytest.approx(-5.86)
    assert pd.isna(table["map_difference"][0])
    assert "phantom (synthetic, not patients)" in table["data"][0]


def test_another_operating_point_stops(tmp_path: Path) -> None:
    write(tmp_path / "metrics/resnet50/ds.json", made(0.8, 12))
    other = made(0.6, 40, thresholds={"iou": 0.5, "score": 0.9})
    write(tmp_path / "external/north/metrics/resnet50/ds.json", other)
    with pytest.raises(UserError, match="operating point of the internal cohort"):
        tabulate(tmp_path)
