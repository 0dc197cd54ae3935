from pathlib import Path

import pandas as pd
import pytest
from support.made_tables import GRADED, report, write

from dsnet.evaluate.clinical_use import THRESHOLDS
from dsnet.tables.clinical import SHOWN, tabulate


def made(value: float, names: tuple[str, ...]) -> dict[str, object]:
    """Return a metrics file with the statement of one statistic and of one criterion."""
    count = len(THRESHOLDS)
    curves = ("all", "value", "low", "high", "gain", "gain_low", "gain_high")
    precise = {"patients": 6, "half_width": 0.2, "needed": 246, "test_patients": 738}
    criterion = {"target": "interval of the C statistic 0.1 wide", "needed": 152}
    return {
        **report(value, names),
        "decision": {
            "prevalence": 0.3333,
            "threshold": THRESHOLDS.tolist(),
            **{name: [0.1 * number] * count for number, name in enumerate(curves)},
        },
        "sample_size": {
            "precision": {"patient_sensitivity_osteoporosis": precise},
            "riley": {"c_statistic": criterion},
        },
    }


@pytest.fixture
def tables(tmp_path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    write(tmp_path / "metrics/resnet50/ds.json", made(0.8, (*GRADED, "map")))
    write(tmp_path / "metrics/hu/multinomial.json", made(0.6, GRADED))
    paths = {name: tmp_path / f"{name}.csv" for name in ("decision", "sample_size")}
    tabulate(variants=["resnet50/ds", "hu/multinomial"], metrics=tmp_path / "metrics", **paths)
    return pd.read_csv(paths["decision"]), pd.read_csv(paths["sample_size"])


def test_net_benefit_is_per_100_patients_at_round_thresholds(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    decision, _ = tables
    assert decision["threshold"].tolist() == [100 * threshold for threshold in SHOWN] * 2
    row = decision.iloc[0]
    bounds = ("net_benefit", "net_benefit_low", "net_benefit_high", "net_benefit_all")
    assert [row[name] for name in bounds] == [10, 20, 30, 0]
    assert [row[name] for name in ("gain", "gain_low", "gain_high")] == [40, 50, 60]
    assert set(decision["net_benefit_none"]) == {0}


def test_baselines_without_boxes_have_a_statement_too(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    _, size = tables
    assert size["figure"].tolist() == ["patient_sensitivity_osteoporosis", "c_statistic"] * 2
    assert size["half_width"].tolist()[::2] == [20, 20]
    assert size["value"].tolist()[::2] == [80, 60]
    assert size["test_patients_needed"].tolist() == [738, 152] * 2
    assert size["target"].tolist()[1].startswith("Riley: interval of the C statistic")
