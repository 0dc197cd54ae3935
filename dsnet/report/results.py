"""The tables and figures of the results folder: whatever there is, in a stated order."""

import base64
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsnet.errors import UserError
from dsnet.report.meaning import meaning
from dsnet.report.tables import read_json

TABLES = {
    "table1": "Table 1. ResNet50 with each attention, beside the paper's figures",
    "table2": "Table 2. Other backbones, with and without DS attention",
    "table3": "Table 3. Methods of the literature, as they report themselves, and ours",
    "differences": "Differences of each attention to none, on the same resamples of patients",
    "leakage": "What a split by image would have shown (LEAKY), against the split by patient",
}
"""Tables that the report shows, in this order, and their headings."""

FIGURES = (
    "figure4",
    "forest",
    "precision_recall",
    "roc",
    "confusion_box",
    "confusion_level",
    "confusion_patient",
    "calibration",
    "froc",
    "learning",
    "patients",
)
"""Figures in the order in which the report shows them; others follow by name."""

_KINDS = {".svg": "image/svg+xml", ".png": "image/png"}
_NUMBER = re.compile(r"[-+]?[\d.]*(e[-+]?\d+)?", re.ASCII)
_BOUND = re.compile(r"(.+)_(low|high)")


@dataclass(frozen=True)
class ResultTable:
    """A table.

    Attributes
    ----------
    name, title : str
    heads : list of str
        Bounds of an interval stand in their value's column.
    rows : list of list of str
    numeric : list of bool
        By head, whether its cells are numbers.
    same : list of (str, str)
        Columns left out since every row says the same, and what it says.
    meanings : list of (str, str)
        Head and what it means, where that is known.
    """

    name: str
    title: str
    heads: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    same: list[tuple[str, str]]
    meanings: list[tuple[str, str]]


@dataclass(frozen=True)
class Picture:
    """A figure, as a ``data:`` URI."""

    name: str
    title: str
    caption: str
    source: str


def read_results(folder: Path) -> tuple[list[ResultTable], list[str]]:
    """Return the tables of `TABLES` that exist, and the names of those that do not.

    Raises
    ------
    UserError
        If one of them is no CSV table.
    """
    there = [name for name in TABLES if (folder / f"{name}.csv").exists()]
    tables = [_read(folder / f"{name}.csv", TABLES[name]) for name in there]
    return tables, [name for name in TABLES if name not in there]


def read_figures(folder: Path) -> list[Picture]:
    """Return the figures that exist, `FIGURES` first, each with the words of its own JSON file.

    Of a figure that is there twice, SVG is preferred.
    """
    files = {
        path.stem: path for suffix in (".png", ".svg") for path in sorted(folder.glob(f"*{suffix}"))
    }
    order = [name for name in FIGURES if name in files]
    return [_picture(files[name]) for name in [*order, *sorted(set(files) - set(order))]]


def picture_uri(path: Path) -> str:
    """Return an SVG or PNG file as a ``data:`` URI."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:{_KINDS[path.suffix]};base64,{data}"


def _picture(path: Path) -> Picture:
    beside = path.with_suffix(".json")
    about = read_json(beside) if beside.exists() else {}
    title = str(about.get("title", path.stem.replace("_", " ")))
    caption = str(about.get("caption", ""))
    data = f" Data: {about['data']}." if "data" in about else ""
    return Picture(path.stem, title, caption + data, picture_uri(path))


def _read(path: Path, title: str) -> ResultTable:
    with path.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.reader(stream))
    if not lines or any(len(line) != len(lines[0]) for line in lines):
        raise UserError(
            path.name,
            expected="a CSV table with as many cells in each row",
            came="something else",
            remedy="delete it and run the workflow",
        )
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    shown = [head for head in lines[0] if not _is_bound(head, lines[0])]
    varied = [head for head in shown if len(rows) < 2 or len({row[head] for row in rows}) > 1]
    same = [(head, rows[0][head]) for head in shown if head not in varied and rows[0][head]]
    cells = [[_cell(row, head) for head in varied] for row in rows]
    meanings = [(head, words) for head in shown if (words := meaning(head))]
    numeric = [all(_NUMBER.fullmatch(row[head]) for row in rows) for head in varied]
    return ResultTable(path.stem, title, varied, cells, numeric, same, meanings)


def _is_bound(head: str, heads: Sequence[str]) -> bool:
    bound = _BOUND.fullmatch(head)
    return bound is not None and bound[1] in heads


def _cell(row: dict[str, str], head: str) -> str:
    low, high = row.get(f"{head}_low", ""), row.get(f"{head}_high", "")
    return f"{row[head]} ({low} to {high})" if row[head] and low and high else row[head]
