import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.made_index import key

from dsnet import schemas
from dsnet.tables.clinical import agree, agreement, patient_scores


def test_figures_are_those_of_other_libraries() -> None:
    rng = np.random.default_rng(3)
    measured = rng.normal(-1.5, 1.2, 40)
    predicted = 0.6 * measured - 0.5 + rng.normal(0, 0.7, 40)
    made = agreement(predicted, measured)
    reference = stats.pearsonr(predicted, measured)
    interval = reference.confidence_interval(0.95)
    assert made["r"] == pytest.approx(reference.statistic, abs=1e-4)
    assert (made["r_low"], made["r_high"]) == pytest.approx(tuple(interval), abs=1e-4)
    difference = predicted - measured
    bias = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
    assert (made["bias_low"], made["bias_high"]) == pytest.approx(tuple(bias), abs=1e-4)
    upper = difference.mean() + stats.norm.ppf(0.975) * difference.std(ddof=1)
    assert made["upper_limit"] == pytest.approx(upper, abs=1e-4)


def test_the_interval_of_a_limit_covers() -> None:
    """The true limit of standard normal differences is 1.96; 25 patients, 2,000 samples."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        difference, truth = rng.normal(size=25), rng.normal(size=25)
        made = agreement(truth + difference, truth)
        covered += made["upper_limit_low"] <= stats.norm.ppf(0.975) <= made["upper_limit_high"]
    assert 0.92 < covered / 2000 < 0.97


def test_too_few_patients_have_no_figures() -> None:
    assert agreement(np.arange(3.0), np.arange(3.0)) == {"test_patients": 3}
    assert agreement(np.ones(9), np.arange(9.0)) == {"test_patients": 9}


def write(folder: Path, patients: int, *, shift_hu: float, offset: int, tested: int) -> None:
    """Write a cohort in which HU follow the T-score exactly, except for a shift."""
    rows = [
        {
            "image_key": key("I", offset + 2 * patient + (level == "L2")),
            "file_key": key("F", offset + 2 * patient + (level == "L2")),
            "patient_key": key("P", offset + patient),
            "study_key": key("E", offset + patient),
            "level": level,
            "subset": "test" if patient < tested else "train",
            "label": "osteopenia",
            "box": "annotated",
            "t_score": f"{-3 + 0.25 * patient:.2f}",
            "core_mean_hu": 150 + 30 * (-3 + 0.25 * patient) + shift_hu,
        }
        for patient in range(patients)
        for level in ("L1", "L2")
    ]
    table = pd.DataFrame(rows).assign(x_min=1.0, y_min=1.0, x_max=2.0, y_max=2.0, stratum="normal")
    features = table.assign(core_sd_hu=1.0, core_p10_hu=1.0, rim_mean_hu=1.0)
    for schema, name in (
        (schemas.FEATURES, "baseline/features.csv"),
        (schemas.LABELS, "cohort/labels.csv"),
        (schemas.SPLIT, "cohort/split.csv"),
    ):
        source = features if schema is schemas.FEATURES else table
        columns = [column for column in schema.columns if column != "leaky"]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        schemas.write(schema, source[columns], folder / name)
    facts = {"cohort": "made", "synthetic": True}
    (folder / "cohort/slices.json").write_text(json.dumps(facts), encoding="utf-8")


def test_the_line_of_training_patients_is_applied_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, 12, shift_hu=0, offset=0, tested=5)
    write(tmp_path / "external/north", 6, shift_hu=60, offset=100, tested=6)
    agree(
        results=tmp_path,
        features=tmp_path / "baseline/features.csv",
        labels=tmp_path / "cohort/labels.csv",
        cohorts=["north"],
        table=tmp_path / "agreement.csv",
    )
    table = pd.read_csv(tmp_path / "agreement.csv").set_index("cohort")
    assert table["fitted_patients"].tolist() == [7, 7]
    assert table["test_patients"].tolist() == [5, 6]
    assert table.loc["internal", "slope_per_hu"] == pytest.approx(1 / 30, abs=1e-6)
    assert table.loc["internal", "bias"] == pytest.approx(0, abs=1e-3)
    # 60 HU more are 2 T more.
    assert table.loc["north", "bias"] == pytest.approx(2, abs=1e-3)
    assert "synthetic" in table.loc["north", "data"]


def test_one_body_with_cement_does_not_decide(tmp_path: Path) -> None:
    hu = {"L1": 100.0, "L2": 1640.0, "L3": 110.0, "L4": 120.0}
    features = pd.DataFrame(
        {"patient_key": "P-1", "level": hu.keys(), "subset": "test", "core_mean_hu": hu.values()}
    )
    labels = pd.DataFrame(
        {
            "image_key": [key("I", number) for number in range(4)],
            "file_key": [key("F", number) for number in range(4)],
            "patient_key": key("P", 1),
            "study_key": key("E", 1),
            "level": list(hu),
            **dict.fromkeys(("x_min", "y_min", "x_max", "y_max"), 1.0),
            "t_score": "-2.0",
            "label": "osteopenia",
        }
    )
    schemas.write(schemas.LABELS, labels, tmp_path / "labels.csv")
    scores = patient_scores(features.assign(patient_key=key("P", 1)), tmp_path / "labels.csv")
    assert scores.to_dict("list") == {
        "subset": ["test"],
        "core_mean_hu": [115.0],
        "t_score": [-2.0],
    }
