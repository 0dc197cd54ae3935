import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dsnet.step import run
from dsnet.tables.other_data import LEAKAGE, LEAKAGE_STATISTICS, Result, tabulate_leakage, verdict

DETECTOR = "mobilenet_v2/none"


METHODS = {"bootstrap": "percentile bootstrap", "shuffles": "quantiles over 20 shuffles"}


def report(
    value: float, spread: float, *, leaky: bool, detector: bool, shuffled: bool = False
) -> dict[str, Any]:
    names = LEAKAGE_STATISTICS if detector else LEAKAGE_STATISTICS[3:]
    method = "shuffles" if shuffled and not detector else "bootstrap"
    values = {"value": value, "low": value - spread, "high": value + spread, "method": method}
    counts = {"normal": 4, "osteopenia": 3, "osteoporosis": 3}
    return {
        "cohort": "made up",
        "synthetic": True,
        "leaky": leaky,
        "counts": {
            "patients": 10,
            "images": 40,
            "boxes_by_class": counts,
            "patients_by_class": counts,
        },
        "interval": {"methods": METHODS},
        "metrics": dict.fromkeys(names, values),
        **({"chance": {"p975": 0.45}} if detector else {}),
    }


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    trials = {
        "honest/metrics": 0.7,
        "trials/LEAKY/true/metrics": 0.85,
        "trials/patient/shuffled/metrics": 0.33,
        "trials/LEAKY/shuffled/metrics": 0.6,
    }
    for folder, value in trials.items():
        for method in ("hu/multinomial", "hu/nearest", DETECTOR):
            path = tmp_path / folder / f"{method}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            trial = {"leaky": "LEAKY" in folder, "shuffled": "shuffled" in folder}
            made = report(value, 0.1, detector=method == DETECTOR, **trial)
            path.write_text(json.dumps(made))
    named = {
        "metrics": tmp_path / "honest" / "metrics",
        "trials": tmp_path / "trials",
        "detector": DETECTOR,
        "table": tmp_path / "leakage.csv",
    }
    run(
        tabulate_leakage,
        argv=[word for name, value in named.items() for word in (f"--{name}", str(value))],
    )
    return pd.read_csv(tmp_path / "leakage.csv")


def test_rows_and_columns(table: pd.DataFrame) -> None:
    assert list(table.columns) == list(LEAKAGE)
    assert len(table) == 2 * 4 * 4 + 3 * 7
    assert table["method"].unique().tolist() == [
        "HU multinomial",
        "HU nearest neighbour",
        "Faster R-CNN+MobileNetV2",
    ]
    keys = ["method", "split", "labels", "statistic"]
    assert not table.duplicated(keys).any()
    assert table["value"].between(0, 100).all()


def test_every_leaky_row_says_so_and_every_row_says_synthetic(table: pd.DataFrame) -> None:
    leaky = table["split"] != "patient"
    assert (
        table.loc[leaky, ["split", "verdict", "data"]]
        .map(lambda text: "LEAKY" in text)
        .all(axis=None)
    )
    assert not table.loc[~leaky, "data"].str.contains("LEAKY").any()
    assert table["data"].str.contains("synthetic").all()


def test_verdicts(table: pd.DataFrame) -> None:
    verdicts = table.groupby(["split", "labels"])["verdict"].unique().map(sorted).to_dict()
    assert verdicts == {
        ("patient", "true"): ["what new patients would give"],
        ("patient", "shuffled"): ["not above chance, as it must be", "one shuffle, no verdict"],
        ("image LEAKY", "true"): ["LEAKY: +15.0 points against the split by patient"],
        # At 0.6 +- 0.1 both an area and a share lie above chance.
        ("image LEAKY", "shuffled"): [
            "LEAKY: above chance, so patients are recognised",
            "LEAKY: not above chance",
        ],
    }
    assert "undefined" not in table["verdict"].str.cat()
    chance = table.groupby("statistic")["chance"].first()
    assert (chance["map"], chance["localised_macro_auc"], chance["accuracy"]) == (45, 50, 40)


@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
def test_what_is_undefined_is_called_so(leaky: bool, shuffled: bool) -> None:
    made = report(0.5, 0.1, leaky=leaky, shuffled=shuffled, detector=False)
    made["metrics"]["localised_accuracy"] = dict.fromkeys(("value", "low", "high", "method"))
    one = Result("HU", leaky=leaky, shuffled=shuffled, report=made)
    assert verdict(one, "localised_accuracy", one) == ("LEAKY: undefined" if leaky else "undefined")


def test_one_shuffle_decides_nothing_however_high_it_is(table: pd.DataFrame) -> None:
    shuffled = table[(table["labels"] == "shuffled") & (table["split"] == "patient")]
    detector = shuffled["method"].str.startswith("Faster R-CNN")
    assert (shuffled.loc[detector, "verdict"] == "one shuffle, no verdict").all()
    assert (shuffled.loc[~detector, "interval"] == METHODS["shuffles"]).all()
    made = report(0.9, 0.01, leaky=False, shuffled=True, detector=True)
    one = Result("detector", leaky=False, shuffled=True, report=made)
    assert verdict(one, "localised_macro_auc", one) == "one shuffle, no verdict"


def test_hu_models_above_chance_on_nearly_all_shuffles_raise_an_alarm() -> None:
    made = report(0.9, 0.1, leaky=False, shuffled=True, detector=False)
    one = Result("HU", leaky=False, shuffled=True, report=made)
    assert verdict(one, "localised_macro_auc", one) == "above chance: look for a leak"
