"""``python -m dsnet.tables.show``: a table of detectors for human eyes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dsnet.errors import UserError
from dsnet.step import run

READINGS = (
    "Below each figure: its 95 % interval by bootstrap over the test patients, and what the paper "
    "reports on its own data. map: COCO AP at IoU 0.5 over three classes (reading 13). Recall: "
    "class right, IoU >= {iou:g}, score >= {score:g} (reading 14). Acc: TP / (TP + FP + FN) "
    "(reading 15). Box AP: of the box alone, whatever its class. Images/s: {speed[name]}, "
    "{speed[threads]} threads, {speed[size_px]} px, batch 1, in one run (reading 16). "
    "All readings: docs/known-discrepancies.md."
)


def show(*, table: Path, summary: Path) -> None:
    """Print a table of detectors with intervals and the paper's figures.

    Parameters
    ----------
    table, summary : Path
        As `dsnet.tables.step.tabulate` writes them.

    Raises
    ------
    UserError
        If one of them is missing.
    """
    for path in (table, summary):
        if not path.exists():
            raise UserError(
                str(path),
                expected="a table",
                came="no file",
                remedy="make it with snakemake --cores all results/table1.csv",
            )
    beside = json.loads(summary.read_text(encoding="utf-8"))
    console = Console()
    console.print(drawn(pd.read_csv(table, keep_default_na=False), beside))
    console.print(escape(READINGS.format(**beside)), style="dim")
    console.print(f"Data: {escape(beside['data'])}. Not a medical device.", style="bold")


def drawn(rows: pd.DataFrame, summary: dict[str, Any]) -> Table:
    """Return the table; `rows` as in the CSV with "" for what is undefined."""
    patients, images = (summary[name] for name in ("test_patients", "test_images"))
    drawing = Table(
        title=f"{rows['method'].iloc[0]} on {patients} test patients, {images} images\n"
        f"{escape(summary['data'])}",
        box=SIMPLE_HEAD,
        leading=1,
        pad_edge=False,
        collapse_padding=True,
    )
    drawing.add_column("Detector")
    for name in ("map %", "Recall %", "Acc %", "Box AP %", "Images/s", "Weights"):
        drawing.add_column(name, justify="right")
    for row in rows.to_dict("records"):
        beside = summary[row["backbone"]][row["attention"]]
        drawing.add_row(
            f"{row['backbone']}\n+ {row['attention']}",
            *(_cell(name, row, beside) for name in ("map", "recall", "accuracy")),
            f"{_percent(beside['box_ap50'])}\n{_interval('box_ap50', beside)}",
            f"{row['fps']:.2f}",
            f"{row['parameters_m']:.2f} M",
        )
    return drawing


def _cell(name: str, row: Mapping[Any, Any], beside: dict[str, Any]) -> str:
    paper = row[f"paper_{name}"]
    lines = [_percent(beside[name]), _interval(name, beside), f"paper {paper}" if paper else ""]
    return "\n".join(lines).rstrip()


def _interval(name: str, beside: dict[str, Any]) -> str:
    low, high = beside[f"{name}_low"], beside[f"{name}_high"]
    return "" if low is None or high is None else f"{_percent(low)}-{_percent(high)}"


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"


if __name__ == "__main__":
    run(show)
