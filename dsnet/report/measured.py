"""Tables and figures of the results folder: those that exist, in order, with what columns mean."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from dsnet.audit.explain import count_of
from dsnet.config.evaluate import FIGURES
from dsnet.errors import UserError
from dsnet.evaluate.metrics import DEFINITIONS
from dsnet.results import Results
from dsnet.tables.methods import title_of

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
    "fps_to_resnet50": "speed as a share of ResNet50's without attention, in the same run",
    "ms_q1": "first quartile of the milliseconds an image",
    "ms_q3": "third quartile of the milliseconds an image",
    "parameters_m": "weights in millions, trained or frozen",
    "parameters_attention_m": "of these, the attention modules'",
    "gamma": "how much of each attention module the first seed's training adds, by site; never "
    "below 0 unless the config says so (interpretation 5)",
    "branch_share_percent": "size of what is added relative to what it is added to (root mean "
    "squares on the validation images), by site",
    "chance_p": "p-value of map against permuted classes of the patients",
    "above_chance": "whether that p-value is at most 0.025",
    "scope": "what interval and comparison are about: these trainings, or trainings in general",
    "device": "what the speed was measured on",
    "threads": "threads used for it",
    "size_px": "edge of the image that the detector sees",
    "data": "the cohort, and whether it is synthetic",
    "cohort": "internal: the test subset; else the name of an external cohort",
    "temperature": "by which logits are divided, fitted on the internal test subset",
    "weights_sha256": "SHA-256 of the weights that were used, by seed",
    "variation": "none: the split itself; splitN: that of its seed and N; shareN: N % of the "
    "training patients",
    "training_patients": "patients of the training subset",
    "trait": "by which patients are grouped",
    "group": "value of the trait; several: it differs between the patient's images",
    "group_patients": "test patients of the group; hidden where so few may identify somebody",
    "threshold": "probability of osteoporosis in percent from which a patient is sent to DXA",
    "net_benefit": "patients with osteoporosis who are sent, less the others who are, each weighed "
    "by the odds of the threshold, per 100 patients",
    "net_benefit_all": "the same if all are sent to DXA",
    "net_benefit_none": "the same if nobody is",
    "gain": "net benefit less that of the better one of DXA for all and for none",
    "prevalence": "share of osteoporosis in the test subset, percent",
    "figure": "statistic, or criterion of Riley et al. (2021)",
    "target": "how precise it shall be",
    "half_width": "half of its 95 % interval, percent points",
    "patients": "test patients on whom the statistic rests",
    "needed": "on how many it would have to rest",
    "test_patients_needed": "test patients of all classes that this takes at this prevalence",
    "bias": "mean of T-score from HU less that of DXA",
    "lower_limit": "bias less 1.96 standard deviations of the differences",
    "upper_limit": "bias plus 1.96 standard deviations of the differences",
    "intercept": "T-score at 0 HU of the line through training and validation patients",
    "slope_per_hu": "T-score per HU of that line",
    "fitted_patients": "patients through whom the line goes",
}

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
        Those of `HEADLINES` that the file has; all of a table that is not there.
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
    if head in _MEASURES:
        return _MEASURES[head]
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
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    uri = f"data:{_MEDIA_TYPES[path.suffix]};base64,{content}"
    return Picture(path.stem, title, caption + data, uri)


def with_interval(row: Mapping[str, str], name: str) -> str:
    """Return a figure of a CSV row with its interval, as both are written there.

    Examples
    --------
    >>> with_interval({"map": "70.1", "map_low": "60", "map_high": "80"}, "map")
    '70.1 (60 to 80)'
    """
    low, high = row.get(f"{name}_low", ""), row.get(f"{name}_high", "")
    return f"{row[name]} ({low} to {high})" if row[name] and low and high else row[name]


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
    listed = HEADLINES.get(name, tuple(Column(head, head) for head in heads))
    columns = [column for column in listed if column.name in given]
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
    if "statistic" in row:
        derived["statistic"] = row["statistic"].replace("_", " ").replace("auc", "AUC")
    if "figure" in row:
        derived["figure"] = row["figure"].replace("_", " ").replace("auc", "AUC")
    if row.get("unit") == "":
        derived["unit"] = "reported"
    return derived


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
        for name in (
            "test_patients",
            "test_images",
            "seeds",
            "data",
            "device",
            "threads",
            "size_px",
        )
        if len(values := {row[name] for row in rows if row.get(name)}) == 1
    }
    sentences = []
    if "test_patients" in shared:
        images = (
            f", {count_of(int(shared['test_images']), 'image')}" if "test_images" in shared else ""
        )
        sentences.append(f"On {count_of(int(shared['test_patients']), 'test patient')}{images}.")
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
