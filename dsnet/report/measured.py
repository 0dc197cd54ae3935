"""Tables and figures of the results folder: those that exist, in order, with what columns mean."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from dsnet.audit.explain import count_of
from dsnet.config.output import FIGURES
from dsnet.errors import UserError
from dsnet.evaluate.metrics import DEFINITIONS
from dsnet.results import Results
from dsnet.tables import title_of

TABLES = {
    "table1": "Table 1. ResNet50 with each attention, beside the paper's figures",
    "table2": "Table 2. Other backbones, with and without DS attention",
    "table3": "Table 3. Methods of the literature, as they report themselves, and ours",
    "differences": "Differences of each attention to none, on the same resamples of patients",
    "agreement": "T-score computed from HU, against that of DXA",
    "decision": "Net benefit per 100 patients of sending to DXA by each method",
    "sample_size": "Precision with these test patients, and what more would take",
    "subgroups": "By groups of test patients (exploratory)",
    "repeats": "Repeated splits of the same patients",
    "learning_curve": "Learning curve over training patients",
    "external": "External cohorts, beside the internal test subset",
    "leakage": "What a split by image would have given (LEAKY), against the split by patient",
}
"""Tables that the report shows, in this order, and their headings."""

OF_IMAGES = ("figure4",)
"""Figures that show images of patients."""

Format = Literal["text", "count", "decimal", "two", "p"]


@dataclass(frozen=True)
class Column:
    """A column that the report shows of a table.

    Attributes
    ----------
    title : str
    name : str
        Of the column in the CSV file.
    format : {"text", "count", "decimal", "two", "p"}
        ``decimal``: one decimal, ``two``: two. ``p``: three, ``<0.001`` below.
    bounds : tuple of str
        Columns of the interval, where the file has them.
    """

    title: str
    name: str
    format: Format = "text"
    bounds: tuple[str, str] = ("", "")


def _percent(title: str, name: str) -> Column:
    return Column(title, name, "decimal", (f"{name}_low", f"{name}_high"))


_DETECTORS = (
    Column("Detector", "detector"),
    _percent("map %", "map"),
    _percent("Recall %", "recall"),
    _percent("Acc %", "accuracy"),
    _percent("Box AP %", "box_ap50"),
    Column("Images/s", "fps", "decimal"),
    Column("Weights, M", "parameters_m", "decimal"),
    Column("Gamma", "gamma"),
)

_VARIED = (
    Column("Variation", "variation"),
    Column("Training patients", "training_patients", "count"),
    Column("Test patients", "test_patients", "count"),
    _percent("map %", "map"),
    _percent("Acc by patient %", "patient_accuracy"),
    _percent("Sens. osteoporosis %", "patient_sensitivity_osteoporosis"),
    _percent("Spec. %", "patient_specificity_osteoporosis"),
)

OPTIONAL = ("repeats", "learning_curve", "external")
"""Tables that are made only where the config asks for them."""

HEADLINES: Mapping[str, tuple[Column, ...]] = {
    "table1": _DETECTORS,
    "table2": _DETECTORS,
    "table3": (
        Column("Method", "method"),
        Column("By", "unit"),
        Column("Images", "images", "count"),
        Column("Classes", "classes", "count"),
        _percent("Acc %", "accuracy"),
        _percent("AUC %", "auc"),
        _percent("Recall %", "recall"),
    ),
    "differences": (
        Column("Detector", "detector"),
        Column("Statistic", "statistic"),
        Column("Difference to none, points", "difference", "decimal", ("low", "high")),
        Column("p", "p", "p"),
        Column("p (Holm)", "p_holm", "p"),
        Column("Random", "scope"),
    ),
    "agreement": (
        Column("Cohort", "cohort"),
        Column("Patients", "test_patients", "count"),
        Column("r", "r", "two", ("r_low", "r_high")),
        Column("Bias, T", "bias", "two", ("bias_low", "bias_high")),
        Column("Lower limit, T", "lower_limit", "two", ("lower_limit_low", "lower_limit_high")),
        Column("Upper limit, T", "upper_limit", "two", ("upper_limit_low", "upper_limit_high")),
    ),
    "decision": (
        Column("Method", "method"),
        Column("Threshold %", "threshold", "decimal"),
        _percent("Net benefit", "net_benefit"),
        Column("DXA for all", "net_benefit_all", "decimal"),
        Column("for none", "net_benefit_none", "decimal"),
        _percent("Gain over the better", "gain"),
    ),
    "sample_size": (
        Column("Method", "method"),
        Column("Figure", "figure"),
        Column("Target", "target"),
        Column("Value %", "value", "decimal", ("low", "high")),
        Column("Half width, points", "half_width", "decimal"),
        Column("Patients it rests on", "patients", "count"),
        Column("Patients it takes", "needed", "count"),
        Column("Test patients it takes", "test_patients_needed", "count"),
    ),
    "subgroups": (
        Column("Detector", "detector"),
        Column("Trait", "trait"),
        Column("Group", "group"),
        Column("Patients", "group_patients", "count"),
        _percent("map %", "map"),
        _percent("Acc by patient %", "patient_accuracy"),
        _percent("Sens. osteoporosis %", "patient_sensitivity_osteoporosis"),
        _percent("Spec. %", "patient_specificity_osteoporosis"),
    ),
    "repeats": _VARIED,
    "learning_curve": _VARIED,
    "external": (
        Column("Method", "method"),
        Column("Cohort", "cohort"),
        Column("Patients", "test_patients", "count"),
        _percent("map %", "map"),
        _percent("to internal, points", "map_difference"),
        _percent("By patient: Acc %", "patient_accuracy"),
        _percent("AUC %", "patient_macro_auc"),
        _percent("Sens. osteoporosis %", "patient_sensitivity_osteoporosis"),
        _percent("Spec. %", "patient_specificity_osteoporosis"),
    ),
    "leakage": (
        Column("Method", "method"),
        Column("Split by", "split"),
        Column("Labels", "labels"),
        Column("Statistic", "statistic"),
        Column("Value %", "value", "decimal", ("low", "high")),
        Column("Chance %", "chance", "decimal"),
        Column("Verdict", "verdict"),
    ),
}
"""What the report shows of each table; the rest is behind "all rows and columns"."""

_SUMMARIES = {"table1": "metrics.json", "table2": "table2.json"}
"""Files that hold the statistics of a table which its CSV lacks, as fractions."""

MEANINGS: dict[str, dict[str, str]] = yaml.safe_load(
    (files("dsnet.report") / "templates" / "columns.yaml").read_text(encoding="utf-8")
)
"""What columns mean: of the ledger, of the exclusions, and of the tables of results."""

_SHARED = ("test_patients", "test_images", "seeds", "data", "device", "threads", "size_px")
"""Columns from which the note of a table is made, where all rows agree."""

_MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True)
class Cell:
    """A figure, and what stands below it: its interval, and what the paper reports."""

    value: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResultTable:
    """A table.

    Attributes
    ----------
    name, title : str
    columns : list of Column
        Those of `HEADLINES` that the file has.
    rows : list of list of Cell
        Of each method the first statistic, where there are several.
    note : str
        On how many patients, and of which data.
    heads : list of str
        Of the file.
    raw : list of dict of str to str
        Its rows.
    meanings : list of (str, str)
        Head and what it means, where there is a definition.
    """

    name: str
    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    note: str
    heads: list[str]
    raw: list[dict[str, str]]
    meanings: list[tuple[str, str]]


@dataclass(frozen=True)
class Picture:
    """A figure, as a ``data:`` URI."""

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
    made = [name for name in TABLES if (results.folder / f"{name}.csv").exists()]
    return [_table(results, name) for name in made], [name for name in TABLES if name not in made]


def read_figures(results: Results, *, shareable: bool = False) -> tuple[list[Picture], list[str]]:
    """Return the figures that exist, and the names of those of `FIGURES` that do not.

    `FIGURES` come first, each with the caption of its JSON file. Of a figure that exists twice, SVG
    is preferred.

    Parameters
    ----------
    results : Results
    shareable : bool
        Leave out `OF_IMAGES`, and pictures of the folder that the workflow did not make: nobody
        knows what they show.
    """
    folder = results.folder / "figures"
    files = {
        path.stem: path for suffix in (".png", ".svg") for path in sorted(folder.glob(f"*{suffix}"))
    }
    wanted = [name for name in FIGURES if not (shareable and name in OF_IMAGES)]
    others = [] if shareable else sorted(set(files) - set(wanted))
    made = [name for name in wanted if name in files]
    pictures = [_picture(results, files[name]) for name in [*made, *others]]
    return pictures, [name for name in wanted if name not in files]


def column_meaning(head: str) -> str:
    """Return what a column of a table of results means; "" where there is no definition.

    Examples
    --------
    >>> column_meaning("paper_fps")
    'what the paper reports as fps, on its own data'
    """
    if head in MEANINGS["results"]:
        return MEANINGS["results"][head]
    if head == "macro_precision":  # so called in tables; `paper_map` is there what the paper prints
        return DEFINITIONS["paper_map"]
    for suffix, bound in (("_low", "lower"), ("_high", "upper")):
        if head.endswith(suffix):
            return f"{bound} bound of the 95 % interval of {head.removesuffix(suffix)}"
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
    source = data_uri(_MEDIA_TYPES[path.suffix], path.read_bytes())
    return Picture(title, caption + data, source)


def data_uri(media_type: str, content: bytes) -> str:
    """Return a file as a URI that holds its content."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def format_cell(text: str, kind: Format) -> str:
    """Return a cell as the report prints it; a dash where it is empty.

    Examples
    --------
    >>> format_cell("73.71", "decimal"), format_cell("0.00002", "p"), format_cell("4805", "count")
    ('73.7', '<0.001', '4,805')
    >>> format_cell("", "decimal")
    '-'
    """
    if not text:
        return "-"
    try:
        if kind in ("decimal", "two"):
            return f"{float(text):.{1 if kind == 'decimal' else 2}f}"
        if kind == "count":
            return f"{int(float(text)):,}"
        if kind == "p":
            return "<0.001" if float(text) < 0.001 else f"{float(text):.3f}"
    except ValueError:
        return text
    return text


def _table(results: Results, name: str) -> ResultTable:
    path = results.folder / f"{name}.csv"
    try:
        frame = pd.read_csv(path, dtype=str, na_filter=False, index_col=False)
    except ValueError as error:  # pandas' own errors of parsing and of empty files among them
        raise UserError(
            path.name,
            expected="a CSV table with as many cells in each row",
            came="something else",
            remedy="delete it and run the workflow",
        ) from error
    heads = list(frame.columns)
    raw: list[dict[str, str]] = [dict(zip(heads, row, strict=True)) for row in frame.to_numpy()]
    rows = [{**row, **_derived(row)} for row in raw]
    if name in _SUMMARIES and (results.folder / _SUMMARIES[name]).exists():
        summary = results.json(_SUMMARIES[name])
        rows = [{**row, **_box_ap(summary, row)} for row in rows]
    given = set().union(*rows) if rows else set(heads)
    columns = [column for column in HEADLINES[name] if column.name in given]
    return ResultTable(
        name,
        TABLES[name],
        columns,
        [[_cell(row, column) for column in columns] for row in _first_statistics(rows)],
        _note([row for row in raw if row.get("source") != "reported"]),
        heads,
        raw,
        [(head, text) for head in heads if (text := column_meaning(head))],
    )


def _derived(row: Mapping[str, str]) -> dict[str, str]:
    derived = {}
    if {"backbone", "attention"} <= set(row):
        derived["detector"] = title_of(f"{row['backbone']}/{row['attention']}")
    derived |= {name: in_words(row[name]) for name in ("statistic", "figure") if name in row}
    if row.get("unit") == "":
        derived["unit"] = "reported"
    return derived


def in_words(statistic: str) -> str:
    """Return the name of a statistic as words.

    Examples
    --------
    >>> in_words("localised_macro_auc")
    'localised macro AUC'
    """
    return statistic.replace("_", " ").replace("auc", "AUC")


def _first_statistics(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return of each method the rows of its first statistic, by which methods are compared."""
    first: dict[str, str] = {}
    kept = []
    for row in rows:
        method, statistic = row.get("detector", row.get("method", "")), row.get("statistic", "")
        if statistic == first.setdefault(method, statistic):
            kept.append(row)
    return kept


def _box_ap(summary: Mapping[str, Any], row: Mapping[str, str]) -> dict[str, str]:
    """Return box AP in percent; nothing where the summary is of other detectors."""
    statistics = summary.get(row["backbone"], {}).get(row["attention"], {})
    names = [name for name in ("box_ap50", "box_ap50_low", "box_ap50_high") if name in statistics]
    fractions = {name: statistics[name] for name in names}
    return {name: "" if value is None else str(100 * value) for name, value in fractions.items()}


def _cell(row: Mapping[str, str], column: Column) -> Cell:
    notes = []
    low, high = (row.get(name, "") for name in column.bounds)
    if low and high:
        low, high = format_cell(low, column.format), format_cell(high, column.format)
        notes.append(f"{low} to {high}")
    if paper := row.get(f"paper_{column.name}", ""):
        notes.append(f"paper {format_cell(paper, column.format)}")
    if column.name == "fps":
        notes = []  # the paper's "Fps" cannot be images a second (interpretation 16)
    return Cell(format_cell(row.get(column.name, ""), column.format), tuple(notes))


def _note(rows: Sequence[Mapping[str, str]]) -> str:
    """Return on what the figures were measured, as far as all rows agree."""
    shared = {
        name: values.pop()
        for name in _SHARED
        if len(values := {row[name] for row in rows if row.get(name)}) == 1
    }
    sentences = []
    if "test_patients" in shared:
        tested = [
            count_of(int(shared[name]), noun)
            for name, noun in (("test_patients", "test patient"), ("test_images", "image"))
            if name in shared
        ]
        sentences.append(f"On {', '.join(tested)}.")
    if int(shared.get("seeds", 1)) > 1:
        sentences.append(f"Means over {shared['seeds']} seeds.")
    if {"device", "threads", "size_px"} <= set(shared):
        sentences.append(
            f"Speed: {shared['device']}, {count_of(int(shared['threads']), 'thread')}, "
            f"{shared['size_px']} px, batch 1, in one run (interpretation 16)."
        )
    if "data" in shared:
        sentences.append(f"Data: {shared['data']}.")
    return " ".join(sentences)
