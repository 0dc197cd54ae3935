import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.made_tables import GRADED, report, statistic, timing, write
from support.random_scenes import random_scene, with_box_each

from dsnet.config.evaluate import Evaluate
from dsnet.evaluate.compare import COLUMNS
from dsnet.evaluate.step import metrics_of
from dsnet.step import run
from dsnet.tables import Entry, other_data
from dsnet.tables.claims import OTHER_TABLES, claims_text, write_claims

DIFFERENCE = {"backbone": "resnet50", "attention": "ds", "statistic": "map", "role": "primary"}


def made(folder: Path, seeds: int) -> str:
    """Return the document made of a detector and a baseline."""
    detector = {**report(0.6), "seeds": list(range(seeds))}
    detector["metrics"]["recall"] = dict.fromkeys(statistic(0))
    detector["interval"]["scope"] = "patients; this one training"
    write(folder / "metrics/resnet50/ds.json", detector)
    write(folder / "metrics/hu/thresholds.json", report(0.3, GRADED))
    write(folder / "speed.json", timing("resnet50/ds"))
    p = {"p": 0.012, "p_holm": 0.036} if seeds > 1 else {"p": None, "p_holm": None}
    row = {**DIFFERENCE, "difference": 5.26, "low": -1.0, "high": 11.0, **p}
    pd.DataFrame([row]).reindex(columns=list(COLUMNS)).to_csv(folder / "differences.csv")
    cells: dict[str, Any] = dict.fromkeys(other_data.LEAKAGE, "x")
    cells |= {"value": 33.3, "low": 30, "high": 40, "verdict": "not above chance"}
    pd.DataFrame([cells]).to_csv(folder / "leakage.csv")
    named = {
        "variants": "resnet50/ds",
        "baselines": "hu/thresholds",
        "metrics": folder / "metrics",
        "differences": folder / "differences.csv",
        "leakage": folder / "leakage.csv",
        "speed": folder / "speed.json",
        "claims": folder / "claims.md",
    }
    run(
        write_claims,
        argv=[word for name, value in named.items() for word in (f"--{name}", str(value))],
    )
    return (folder / "claims.md").read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ", maxsplit=1)[0]


@pytest.mark.parametrize("seeds", [1, 5])
def test_each_claim_has_a_method_and_an_assumption(tmp_path: Path, seeds: int) -> None:
    text = made(tmp_path, seeds)
    sections = text.split("\n## ")[1:]
    assert len(sections) == 7 + len(OTHER_TABLES)
    for each in sections:
        assert each.count("\nMethod: ") == each.count("\nAssumption: ") == 1, each
        assert "\n| --- |" in each or "Figures: " in each
    assert "phantom (synthetic, not patients); test subset, 12 patients" in text
    assert "this one training" in text


def test_figures_are_those_of_the_tables(tmp_path: Path) -> None:
    text = made(tmp_path, 5)
    precision = section(text, "Average precision and areas under ROC curves")
    assert "| ResNet50+DS | 60.0 % (50.0 to 70.0) |" in precision
    assert "| HU thresholds | - | - | 30.0 % (20.0 to 40.0) |" in precision
    assert "| ResNet50+DS | undefined |" in section(text, "Shares of boxes and of patients")
    chance = section(text, "Above chance")
    assert "| 60.0 % (50.0 to 70.0) | 30.0 % | 0.004 | above chance |" in chance
    assert "p <= 0.025" in chance
    assert "HU thresholds" not in chance
    assert "33.3 (30.0 to 40.0) | not above chance |" in section(text, "Leakage")
    assert "| ResNet50+DS | 1.23 | 0.988 (0.988 to 0.988) |" in section(text, "Speed")


def test_several_seeds_make_a_claim_about_modules(tmp_path: Path) -> None:
    differences = section(made(tmp_path, 5), "Differences between modules")
    assert "| map | primary | +5.3 points (-1.0 to 11.0) | 0.012 | 0.036 |" in differences
    assert "Holm" in differences
    assert "exploratory" in differences


def test_one_seed_makes_none(tmp_path: Path) -> None:
    differences = section(made(tmp_path, 1), "Differences between modules")
    assert "| +5.3 points (-1.0 to 11.0) | - | - |" in differences
    assert "these two trainings" in differences
    assert "Holm's correction" not in differences
    assert json.loads((tmp_path / "metrics/resnet50/ds.json").read_text())["seeds"] == [0]


def test_the_evaluation_writes_what_claims_are_made_of() -> None:
    scene = with_box_each(random_scene(3, 12, 8), 3)
    few = Evaluate(bootstrap=100, permutations=100)
    provenance = {"cohort": "made up", "synthetic": True, "leaky": False}
    entry = Entry("vgg16/ds", {**provenance, **metrics_of([scene, scene], [0, 1], few)})
    differences = pd.DataFrame([], columns=list(COLUMNS))
    text = claims_text(
        [entry], differences, pd.DataFrame([], columns=list(other_data.LEAKAGE)), timing("vgg16/ds")
    )
    assert text.count("| VGG16+DS |") == 5
    assert "patients and trainings (2 seeds)" in text
    assert "nan" not in text
