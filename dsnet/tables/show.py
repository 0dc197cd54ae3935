"""The tables on a terminal: ``python -m dsnet.tables.show``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dsnet.errors import UserError
from dsnet.files import read_json
from dsnet.step import run
from dsnet.tables.methods import Json, read_csv, title_of

FOOTNOTE = (
    "Below each figure: its 95 % interval (random: {scope}), and what the paper "
    "reports on its own data. map: COCO AP50 over three classes (interpretation 13). Recall: "
    "class right, IoU >= {iou:g}, score >= {score:g} (interpretation 14). Acc: TP / (TP + FP + FN) "
    "(interpretation 15). Box AP: of the box alone, regardless of class. Images/s: {speed[name]}, "
    "{speed[threads]} threads, {speed[size_px]} px, batch 1, in one run (interpretation 16). "
    "All interpretations: docs/interpretations.md."
)


def show(*, table: Path, summary: Path) -> None:
    """Print a table of detectors with intervals and the paper's figures.

    Parameters
    ----------
    table, summary : Path
        As `dsnet.tables.detectors.tabulate` writes them.

    Raises
    ------
    UserError
        If one of them is missing.
    """
    _check_made(table, summary)
    rows, content = read_csv(table), read_json(summary)
    console = Console()
    console.print(detector_table(rows, content))
    console.print(escape(FOOTNOTE.format(**content)), style="dim")
    console.print(f"Data: {escape(content['data'])}. Not a medical device.", style="bold")


def show_literature(*, table: Path) -> None:
    """Print Table 3, reported and measured rows apart.

    Parameters
    ----------
    table : Path
        As `dsnet.tables.literature.compare` writes it.

    Raises
    ------
    UserError
        If it is missing.
    """
    _check_made(table)
    rows = read_csv(table)
    console = Console()
    console.print(literature_table(rows))
    measured = rows[rows["source"] == "measured"]
    for unit, group in measured.groupby("unit", sort=False):
        console.print(escape(f"By {unit}: {group['measures'].iloc[0]}."), style="dim")
    console.print(f"Data: {escape(measured['data'].iloc[0])}. Not a medical device.", style="bold")


def detector_table(rows: pd.DataFrame, summary: Json) -> Table:
    """Return the table; `rows` as in the CSV, NaN for what is undefined."""
    patients, images = (summary[name] for name in ("test_patients", "test_images"))
    table = Table(
        title=f"{rows['method'].iloc[0]} on {patients} test patients, {images} images\n"
        f"{escape(summary['data'])}",
        box=SIMPLE_HEAD,
        leading=1,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("Detector")
    for name in ("map %", "Recall %", "Acc %", "Box AP %", "Images/s", "Weights"):
        table.add_column(name, justify="right")
    for row in rows.to_dict("records"):
        statistics = summary[row["backbone"]][row["attention"]]
        table.add_row(
            title_of(f"{row['backbone']}/{row['attention']}").replace("+", "\n+ "),
            *(_cell(name, row, statistics) for name in ("map", "recall", "accuracy")),
            f"{_percent(statistics['box_ap50'])}\n{_interval('box_ap50', statistics)}",
            f"{row['fps']:.2f}",
            f"{row['parameters_m']:.2f} M",
        )
    return table


def literature_table(rows: pd.DataFrame) -> Table:
    """Return Table 3; a line between what is reported and what is measured, by unit."""
    table = Table(
        title="Beside the literature", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    for name in ("Method", "By"):
        table.add_column(name)
    for name in ("Images", "Classes", "Acc %", "AUC %", "Recall %"):
        table.add_column(name, justify="right", no_wrap=True)
    for unit, group in rows.fillna({"unit": "reported"}).groupby("unit", sort=False):
        for row in group.to_dict("records"):
            table.add_row(
                escape(row["method"]).replace("+", "\n+ "),
                str(unit),
                *(f"{row[name]:.0f}" for name in ("images", "classes")),
                *(_figure(row, name) for name in ("accuracy", "auc", "recall")),
            )
        table.add_section()
    return table


def _figure(row: Mapping[Any, Any], name: str) -> str:
    value, low, high = (row[f"{name}{suffix}"] for suffix in ("", "_low", "_high"))
    if pd.isna(value):
        return "-"
    return f"{value:.1f}" + ("" if pd.isna(low) else f"\n{low:.1f}-{high:.1f}")


def _check_made(*paths: Path) -> None:
    for path in paths:
        if not path.exists():
            raise UserError(
                str(path),
                expected="a table",
                came="no file",
                remedy=f"make it with snakemake --cores all {paths[0].as_posix()}",
            )


def _cell(name: str, row: Mapping[Any, Any], statistics: Json) -> str:
    paper = row[f"paper_{name}"]
    lines = [
        _percent(statistics[name]),
        _interval(name, statistics),
        "" if pd.isna(paper) else f"paper {paper:.1f}",
    ]
    return "\n".join(lines).rstrip()


def _interval(name: str, statistics: Json) -> str:
    low, high = statistics[f"{name}_low"], statistics[f"{name}_high"]
    return "" if low is None or high is None else f"{_percent(low)}-{_percent(high)}"


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"


if __name__ == "__main__":
    run(show)
