import copy
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dsnet.errors import UserError
from dsnet.evaluate.metrics import DEFINITIONS
from dsnet.step import run
from dsnet.tables.step import COLUMNS, SUMMARY, tabulate

VARIANTS = ("resnet50/none", "resnet50/se", "resnet50/sk", "resnet50/ds")
SEEDS = (3, 5)


def report(value: float) -> dict[str, Any]:
    """Return a metrics file in which every statistic is `value`."""
    each = {"value": value, "low": value - 0.1, "high": value + 0.1}
    return {
        "cohort": "phantom",
        "synthetic": True,
        "part": "test",
        "counts": {"patients": 12, "images": 96, "boxes": 96, "detections": int(1000 * value)},
        "thresholds": {"iou": 0.5, "score": 0.5},
        "interval": {"resamples": 1000, "seed": 0},
        "metrics": {name: dict(each) for name in DEFINITIONS},
        "chance": {"p975": value / 2, "above_chance": value > 0.55},
    }


def timing(*names: str) -> dict[str, Any]:
    """Return what the speed step writes."""
    rows = [
        {
            **dict(zip(("backbone", "attention"), name.split("/"), strict=True)),
            "fps": 1.23456,
            "ms_per_image": 810.006,
            "fps_to_none": 0.9,
        }
        for name in names
    ]
    return {"device": "cpu", "name": "a CPU", "threads": 2, "size_px": 128, "variants": rows}


class Results:
    """The files that the step reads, and what it writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number, name in enumerate(VARIANTS):
            for seed in SEEDS:
                self.write(
                    f"metrics/{name}/seed{seed}.json", report(0.5 + number / 10 + seed / 100)
                )
            self.write(
                f"models/{name}/seed{SEEDS[0]}/manifest.json",
                {"result": {"parameters": 41_300_000}},
            )
        self.write("speed.json", timing(*VARIANTS))

    def write(self, name: str, content: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")

    def tabulate(self, variants: tuple[str, ...] = VARIANTS) -> tuple[pd.DataFrame, dict[str, Any]]:
        table, summary = self.folder / "table1.csv", self.folder / "metrics.json"
        tabulate(
            variants=",".join(variants),
            seeds=",".join(str(seed) for seed in SEEDS),
            metrics=self.folder / "metrics",
            models=self.folder / "models",
            speed=self.folder / "speed.json",
            table=table,
            summary=summary,
        )
        return pd.read_csv(table, dtype=str, keep_default_na=False), json.loads(summary.read_text())


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path)


def test_columns_and_rows_are_the_papers(results: Results) -> None:
    table, _ = results.tabulate()
    assert ",".join(table.columns) == (
        "method,backbone,attention,seeds,test_patients,test_images,map,recall,accuracy,fps,"
        "ms_per_image,parameters_m,paper_map,paper_recall,paper_accuracy,data"
    )
    assert table["attention"].tolist() == ["none", "se", "sk", "ds"]
    assert table["paper_map"].tolist() == ["78.2", "80.4", "81.4", "83.4"]
    assert table["paper_recall"].tolist() == ["88.1", "88.5", "89.2", "90.0"]
    assert table["paper_accuracy"].tolist() == ["74.1", "73.7", "73.8", "75.9"]


def test_a_row_in_full(results: Results) -> None:
    table, _ = results.tabulate()
    assert table.iloc[1].tolist() == [
        "Faster R-CNN",
        "resnet50",
        "se",
        "2",
        "12",
        "96",
        *["64.0"] * 3,  # percent, mean of 0.63 and 0.65
        "1.2346",
        "810.01",
        "41.3",
        *["80.4", "88.5", "73.7"],
        "phantom (synthetic, not patients)",
    ]


def test_summary_holds_fractions_with_bounds(results: Results) -> None:
    _, summary = results.tabulate()
    row = summary["resnet50"]["ds"]
    for name in SUMMARY:
        assert row[name] == pytest.approx(0.84)
        assert row[f"{name}_low"] == pytest.approx(0.74)
        assert row[f"{name}_high"] == pytest.approx(0.94)
    assert row["chance_map_975"] == pytest.approx(0.425)
    assert row["above_chance"] is True
    assert summary["resnet50"]["none"]["above_chance"] is False  # 0.55 with one of the seeds
    assert row["fps_to_none"] == 0.9
    assert summary["speed"] == {"device": "cpu", "name": "a CPU", "threads": 2, "size_px": 128}
    assert summary["data"] == "phantom (synthetic, not patients)"


def test_any_list_of_variants_makes_a_table(results: Results) -> None:
    results.write("speed.json", timing("vgg16/eca"))
    for seed in SEEDS:
        results.write(f"metrics/vgg16/eca/seed{seed}.json", {**report(0.5), "synthetic": False})
        results.write(f"models/vgg16/eca/seed{seed}/manifest.json", {"result": {"parameters": 1}})
    table, summary = results.tabulate(("vgg16/eca",))
    assert table.loc[0, ["paper_map", "paper_recall", "paper_accuracy"]].tolist() == [""] * 3
    assert table.loc[0, "data"] == "phantom"
    assert list(summary["vgg16"]) == ["eca"]


def test_undefined_is_an_empty_cell_and_null(results: Results) -> None:
    undefined = report(0.5)
    undefined["metrics"]["accuracy"] = {"value": None, "low": None, "high": None}
    results.write(f"metrics/resnet50/se/seed{SEEDS[0]}.json", undefined)
    table, summary = results.tabulate()
    assert table.loc[1, "accuracy"] == ""
    assert summary["resnet50"]["se"]["accuracy_low"] is None


def test_other_test_images_are_refused(results: Results) -> None:
    other = copy.deepcopy(report(0.5))
    other["counts"]["images"] = 95
    results.write(f"metrics/resnet50/sk/seed{SEEDS[1]}.json", other)
    with pytest.raises(UserError, match="metrics of resnet50/sk, seed 5"):
        results.tabulate()
    assert not (results.folder / "table1.csv").exists()


def test_missing_metrics(results: Results) -> None:
    (results.folder / "metrics/resnet50/ds/seed5.json").unlink()
    with pytest.raises(UserError, match=r"seed5\.json: expected the JSON file of an earlier step"):
        results.tabulate()


def test_runs_from_the_shell(results: Results) -> None:
    flags = {
        "variants": "resnet50/ds",
        "seeds": "3",
        **{name: str(results.folder / name) for name in ("metrics", "models")},
        "speed": str(results.folder / "speed.json"),
        "table": str(results.folder / "one.csv"),
        "summary": str(results.folder / "one.json"),
    }
    run(tabulate, [word for name, value in flags.items() for word in (f"--{name}", value)])
    assert list(pd.read_csv(results.folder / "one.csv").columns) == list(COLUMNS)
