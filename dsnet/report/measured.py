"""Tables and figures of the results folder: those that exist, in order, with what columns mean."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dsnet.config.output import FIGURES
from dsnet.errors import UserError
from dsnet.evaluate.metrics import DEFINITIONS
from dsnet.results import Results

TABLES = {
    "table1": "Table 1. ResNet50 with each attention, beside the paper's figures",
    "table2": "Table 2. Other backbones, with and without DS attention",
    "table3": "Table 3. Methods of the literature, as they report themselves, and ours",
    "differences": "Differences of each attention to none, on the same resamples of patients",
    "leakage": "What a split by image would have given (LEAKY), against the split by patient",
}
"""Tables that the report shows, in this order, and their headings."""

LEDGER = {
    "file_key": "pseudonym of the file",
    "image_key": "pseudonym of the image (its SOP instance UID); copies of it share one",
    "patient_key": "pseudonym of the patient; blank where no header could be read",
    "study_key": "pseudonym of the study",
    "series_key": "pseudonym of the series",
    "status": "included or excluded",
    "criterion": "the first criterion, in their order, that excludes the file",
    "code": "its code, which stays when others come and go",
    "reason": "what the criterion says, in a sentence",
    "evidence": "what the file shows; of an included one, why it is flagged for review",
    "threshold": "the limit in force",
    "decided_by": "rule, or the row of review.csv that changed the outcome",
    "all_criteria": "every criterion that the file fails, in order; ? marks a flag for review",
}
"""Meanings of the columns of ``cohort/ledger.csv``, one row per file found."""

EXCLUSIONS = {
    "patient_key": "pseudonym of the patient",
    "status": "included if at least one image is",
    "n_files": "files found of this patient",
    "n_included": "of these, included",
    "criterion": "the first criterion on the patient, else the one that took the last candidate "
    "slice (interpretation 22)",
    "reason": "what that criterion says",
}
"""Meanings of the columns of ``cohort/exclusions.csv``, one row per patient."""

_MEASURES = {
    "method": "detector around the attention module",
    "backbone": "network that makes the feature maps",
    "attention": "channel attention: none, or the module of that name (interpretations 1 to 6)",
    "seeds": "trainings, of which the mean is given",
    "test_patients": "patients of the test subset",
    "test_images": "their images",
    "macro_precision": DEFINITIONS["paper_map"],
    "fps": "images a second, batch 1, pre- and post-processing included (interpretation 16)",
    "ms_per_image": "median milliseconds an image (interpretation 16)",
    "fps_to_none": "speed as a share of the same backbone's without attention, in the same run",
    "ms_q1": "first quartile of the milliseconds an image",
    "ms_q3": "third quartile of the milliseconds an image",
    "parameters_m": "weights in millions, trained or frozen",
    "parameters_attention_m": "of these, the attention modules'",
    "above_chance": "whether map lies above the 97.5 % quantile of permuted classes",
    "device": "what the speed was measured on",
    "threads": "threads used for it",
    "size_px": "edge of the image that the detector sees",
    "data": "the cohort, and whether it is synthetic",
}

_MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
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
        Head and what it means, where there is a definition.
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


def read_result_tables(results: Results) -> tuple[list[ResultTable], list[str]]:
    """Return the tables of `TABLES` that exist, and the names of those that do not.

    Raises
    ------
    UserError
        If one of them is no CSV table.
    """
    paths = {name: results.folder / f"{name}.csv" for name in TABLES}
    tables = [_read(path, TABLES[name]) for name, path in paths.items() if path.exists()]
    return tables, [name for name, path in paths.items() if not path.exists()]


def read_figures(results: Results) -> list[Picture]:
    """Return the figures that exist, `FIGURES` first, each with the caption of its JSON file.

    Of a figure that exists twice, SVG is preferred.
    """
    folder = results.folder / "figures"
    files = {
        path.stem: path for suffix in (".png", ".svg") for path in sorted(folder.glob(f"*{suffix}"))
    }
    order = [name for name in FIGURES if name in files]
    return [_picture(results, files[name]) for name in [*order, *sorted(set(files) - set(order))]]


def column_meaning(head: str) -> str:
    """Return what a column of a table of results means; "" where there is no definition.

    Examples
    --------
    >>> column_meaning("paper_fps")
    'what the paper reports as fps, on its own data'
    """
    if head in _MEASURES:
        return _MEASURES[head]
    if head.endswith("_seed_sd"):
        return f"standard deviation of {head.removesuffix('_seed_sd')} over the seeds"
    if head.startswith("paper_"):
        return f"what the paper reports as {head.removeprefix('paper_')}, on its own data"
    return DEFINITIONS.get(head, "")


def _picture(results: Results, path: Path) -> Picture:
    described = path.with_suffix(".json").exists()
    about = results.json(f"figures/{path.stem}.json") if described else {}
    title = str(about.get("title", path.stem.replace("_", " ")))
    caption = str(about.get("caption", ""))
    data = f" Data: {about['data']}." if "data" in about else ""
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    uri = f"data:{_MEDIA_TYPES[path.suffix]};base64,{content}"
    return Picture(path.stem, title, caption + data, uri)


def _read(path: Path, title: str) -> ResultTable:
    try:
        table = pd.read_csv(path, dtype=str, na_filter=False, index_col=False)
    except ValueError as error:  # pandas' own errors of parsing and of empty files among them
        raise UserError(
            path.name,
            expected="a CSV table with as many cells in each row",
            came="something else",
            remedy="delete it and run the workflow",
        ) from error
    heads, rows = list(table.columns), table.to_dict("records")
    displayed = [head for head in heads if not _is_bound(head, heads)]
    varied = [head for head in displayed if len(rows) < 2 or len({row[head] for row in rows}) > 1]
    same = [(head, rows[0][head]) for head in displayed if head not in varied and rows[0][head]]
    cells = [[_cell(row, head) for head in varied] for row in rows]
    meanings = [(head, text) for head in displayed if (text := column_meaning(head))]
    numeric = [all(_NUMBER.fullmatch(row[head]) for row in rows) for head in varied]
    return ResultTable(path.stem, title, varied, cells, numeric, same, meanings)


def _is_bound(head: str, heads: Sequence[str]) -> bool:
    bound = _BOUND.fullmatch(head)
    return bound is not None and bound[1] in heads


def _cell(row: Mapping[Any, str], head: str) -> str:
    low, high = row.get(f"{head}_low", ""), row.get(f"{head}_high", "")
    return f"{row[head]} ({low} to {high})" if row[head] and low and high else row[head]
