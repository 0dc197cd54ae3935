import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.made_tables import SEEDS, report, statistic, timing, write

from dsnet.errors import UserError
from dsnet.step import run
from dsnet.tables.detectors import COLUMNS, SUMMARY, tabulate

VARIANTS = ("resnet50/none", "resnet50/se", "resnet50/sk", "resnet50/ds")


def gammas(name: str, value: float) -> dict[str, float]:
    return {} if name.endswith("none") else {"backbone.body.attention_maxpool": value}


class Results:
    """The files that the step reads, and what it writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number, name in enumerate(VARIANTS):
            self.write(f"metrics/{name}.json", report(0.54 + number / 10))
            self.write(
                f"models/{name}/seed{SEEDS[0]}/manifest.json",
                {
                    "result": {
                        "parameters": 41_300_000,
                        "parameters_attention": 12_345,
                        "gamma": gammas(name, 0.0312),
                        "branch_share": gammas(name, 0.00456),
                    }
                },
            )
        self.write("speed.json", timing(*VARIANTS))

    def write(self, name: str, content: Any) -> None:
        write(self.folder / name, content)

    def tabulate(self, variants: tuple[str, ...] = VARIANTS) -> tuple[pd.DataFrame, dict[str, Any]]:
        table, summary = self.folder / "table1.csv", self.folder / "metrics.json"
        tabulate(
            variants=list(variants),
            seeds=list(SEEDS),
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
    assert ",".join(table.columns[:16]) == (
        "method,backbone,attention,seeds,test_patients,test_images,map,recall,accuracy,fps,"
        "ms_per_image,parameters_m,paper_map,paper_recall,paper_accuracy,data"
    )
    assert table["attention"].tolist() == ["none", "se", "sk", "ds"]
    assert table["paper_map"].tolist() == ["78.2", "80.4", "81.4", "83.4"]
    assert table["paper_recall"].tolist() == ["88.1", "88.5", "89.2", "90.0"]
    assert table["paper_accuracy"].tolist() == ["74.1", "73.7", "73.8", "75.9"]
    assert table["paper_fps"].tolist() == ["0.1849", "0.1834", "0.1829", "0.1846"]


def test_a_row_in_full(results: Results) -> None:
    table, _ = results.tabulate()
    row = table.iloc[1]
    assert row.tolist()[:16] == [
        "Faster R-CNN",
        "resnet50",
        "se",
        "2",
        "12",
        "96",
        *["64.0"] * 3,  # percent
        "1.2346",
        "810.01",
        "41.3",
        *["80.4", "88.5", "73.7"],
        "phantom (synthetic, not patients)",
    ]
    for name in ("map", "recall", "accuracy", "localised_accuracy", "voc_map", "macro_precision"):
        bounds = [row[f"{name}{suffix}"] for suffix in ("", "_low", "_high", "_seed_sd")]
        assert bounds == ["64.0", "54.0", "74.0", "1.25"]
    assert row["above_chance"] == "True"
    assert table["above_chance"].tolist()[0] == "False"
    assert row["chance_p"] == "0.004"
    assert row["scope"] == "patients and trainings (2 seeds)"
    assert [row[name] for name in ("device", "threads", "size_px")] == ["a CPU", "2", "128"]
    assert [row[name] for name in ("ms_q1", "ms_q3", "fps_to_none")] == ["800.0", "820.0", "0.9877"]
    assert row["parameters_attention_m"] == "0.012"
    assert [row["gamma"], row["branch_share_percent"]] == ["maxpool 0.031", "maxpool 0.456"]
    assert table["gamma"].tolist()[0] == ""


def test_every_measure_of_the_paper_shows_its_own_statistic(results: Results) -> None:
    mixed = report(0.5)
    # The metrics call eq. 3 `paper_map`; in the table that is what the paper prints.
    mixed["metrics"] |= {"paper_map": statistic(0.3), "map": statistic(0.8)}
    results.write("metrics/resnet50/ds.json", mixed)
    row = results.tabulate()[0].iloc[3]
    assert [row[name] for name in ("map", "macro_precision", "paper_map")] == [
        "80.0",
        "30.0",
        "83.4",
    ]


def test_summary_holds_fractions_with_bounds(results: Results) -> None:
    _, summary = results.tabulate()
    row = summary["resnet50"]["ds"]
    for name in SUMMARY:
        assert row[name] == pytest.approx(0.84)
        assert row[f"{name}_low"] == pytest.approx(0.74)
        assert row[f"{name}_high"] == pytest.approx(0.94)
        assert row[f"{name}_seed_sd"] == 0.0125
    assert row["chance_map_975"] == pytest.approx(0.42)
    assert row["chance_p"] == 0.004
    assert summary["scope"] == "patients and trainings (2 seeds)"
    assert row["above_chance"] is True
    assert summary["resnet50"]["none"]["above_chance"] is False
    assert row["fps_to_none"] == 0.98765
    assert row["seeds"] == list(SEEDS)
    machine = {"device": "cpu", "name": "a CPU", "threads": 2, "size_px": 128}
    assert summary["speed"] == {**machine, "images": 20}
    assert summary["data"] == "phantom (synthetic, not patients)"


def test_any_list_of_variants_makes_a_table(results: Results) -> None:
    results.write("speed.json", timing("vgg16/eca"))
    results.write("metrics/vgg16/eca.json", {**report(0.5), "synthetic": False})
    sizes = {"parameters": 1, "parameters_attention": 0, "gamma": {}, "branch_share": {}}
    results.write(f"models/vgg16/eca/seed{SEEDS[0]}/manifest.json", {"result": sizes})
    table, summary = results.tabulate(("vgg16/eca",))
    assert table.loc[0, ["paper_map", "paper_recall", "paper_accuracy"]].tolist() == [""] * 3
    assert table.loc[0, "data"] == "phantom"
    assert list(summary["vgg16"]) == ["eca"]


def test_undefined_is_an_empty_cell_and_null(results: Results) -> None:
    undefined = report(0.5)
    undefined["metrics"]["accuracy"] = dict.fromkeys(statistic(0))
    results.write("metrics/resnet50/se.json", undefined)
    speed = timing(*VARIANTS)
    speed["variants"][1] |= {"fps_to_none": None, "fps_to_resnet50_low": None}
    results.write("speed.json", speed)
    table, summary = results.tabulate()
    empty = ["accuracy", "accuracy_low", "accuracy_high", "accuracy_seed_sd"]
    empty += ["fps_to_none", "fps_to_resnet50_low"]
    assert (table.loc[1, empty] == "").all()
    assert summary["resnet50"]["se"]["accuracy_low"] is None


def test_leaky_files_stamp_the_table(results: Results) -> None:
    for name in VARIANTS:
        results.write(f"metrics/{name}.json", {**report(0.5), "leaky": True})
    table, summary = results.tabulate()
    assert all("LEAKY" in note and "synthetic" in note for note in table["data"])
    assert "LEAKY" in summary["data"]


@pytest.mark.parametrize(
    "other",
    [
        {"counts": {"patients": 12, "images": 95, "boxes": 96, "detections": 5}},
        {"thresholds": {"iou": 0.4, "score": 0.5}},
        {"seeds": [3]},
        {"synthetic": False},
        {"slices_sha256": "1" * 64},
    ],
)
def test_detectors_evaluated_otherwise_are_refused(results: Results, other: dict[str, Any]) -> None:
    results.write("metrics/resnet50/sk.json", {**report(0.5), **other})
    with pytest.raises(UserError, match="metrics of resnet50/sk"):
        results.tabulate()
    assert not (results.folder / "table1.csv").exists()


def test_missing_metrics(results: Results) -> None:
    (results.folder / "metrics/resnet50/ds.json").unlink()
    with pytest.raises(UserError, match=r"ds\.json: expected the JSON object of an earlier step"):
        results.tabulate()


def test_runs_from_the_shell(results: Results) -> None:
    words = ["--variants", "resnet50/ds", "--variants", "resnet50/se"]
    words += [word for seed in SEEDS for word in ("--seeds", str(seed))]
    for flag, name in (
        ("metrics", "metrics"),
        ("models", "models"),
        ("speed", "speed.json"),
        ("table", "two.csv"),
        ("summary", "two.json"),
    ):
        words += [f"--{flag}", str(results.folder / name)]
    run(tabulate, argv=words)
    table = pd.read_csv(results.folder / "two.csv")
    assert list(table.columns) == list(COLUMNS)
    assert table["attention"].tolist() == ["ds", "se"]
