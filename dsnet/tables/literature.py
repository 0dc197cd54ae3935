"""What the paper reports, as printed there, and its Table 3 beside what was measured here.

``python -m dsnet.tables.literature``. L. Y. Xue et al., "A dual-selective channel attention network
for osteoporosis prediction in computed tomography images of lumbar spine", Acadlore Trans. Mach.
Learn. 1(1), 30-39, 2022, https://doi.org/10.56578/ataiml010105 (CC BY 4.0), Tables 1 to 3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dsnet.errors import UserError
from dsnet.evaluate.provenance import data_note
from dsnet.files import read_json, write_csv
from dsnet.schemas import CLASSES
from dsnet.step import run
from dsnet.tables import (
    Entry,
    Json,
    check_made,
    read_csv,
    read_entry,
)


@dataclass(frozen=True)
class Reported:
    """A row of Table 1 or 2; percent, except `fps`, which cannot be frames per second.

    docs/interpretations.md#16
    """

    backbone: str
    attention: str
    map: float
    recall: float
    accuracy: float
    fps: float


@dataclass(frozen=True)
class Method:
    """A row of Table 3; percent, None where the paper prints a dash."""

    method: str
    images: int
    classes: int
    accuracy: float | None
    auc: float | None
    recall: float | None


TABLE1 = (
    Reported("resnet50", "none", 78.2, 88.1, 74.1, 0.1849),
    Reported("resnet50", "se", 80.4, 88.5, 73.7, 0.1834),
    Reported("resnet50", "sk", 81.4, 89.2, 73.8, 0.1829),
    Reported("resnet50", "ds", 83.4, 90.0, 75.9, 0.1846),
)

TABLE2 = (
    TABLE1[0],
    TABLE1[3],
    Reported("vgg16", "none", 80.0, 88.5, 71.1, 0.1873),
    Reported("vgg16", "ds", 80.2, 89.9, 71.8, 0.1870),
    # "MobileNet" in the paper; docs/interpretations.md#7 takes it for V2.
    Reported("mobilenet_v2", "none", 80.9, 86.4, 73.0, 0.1856),
    Reported("mobilenet_v2", "ds", 83.0, 88.1, 72.7, 0.1846),
)

TABLE3 = (
    Method("Machine learning [32]", 120, 2, None, 83.0, None),
    Method("LeNet [33]", 4000, 2, 88.4, None, None),
    Method("3D U-net [14]", 200, 2, None, 92.7, 85.7),
    Method("VGGnet16+BCR [16]", 334, 2, 71.0, 74.0, None),
    Method("ENSEMBLE [31]", 247, 2, 92.0, None, 88.0),
    Method("Faster R-CNN+ResNet50+DS (Ours)", 4805, 3, 75.9, None, 90.0),
)


def reported(backbone: str, attention: str) -> Reported | None:
    """Return the paper's figures for a detector, None for one that it does not have."""
    for row in (*TABLE1, *TABLE2):
        if (row.backbone, row.attention) == (backbone, attention):
            return row
    return None


STATISTICS = ("accuracy", "auc", "recall")

COLUMNS = (
    "method",
    "source",
    "unit",
    "images",
    "classes",
    "test_patients",
    "test_images",
    *(f"{name}{suffix}" for name in STATISTICS for suffix in ("", "_low", "_high")),
    "paper_accuracy",
    "paper_recall",
    "measures",
    "data",
)


UNITS = {
    "box": {"accuracy": "accuracy", "auc": "localised_macro_auc", "recall": "recall"},
    **{
        unit: {
            "accuracy": f"{unit}_accuracy",
            "auc": f"{unit}_macro_auc",
            "recall": f"{unit}_sensitivity_osteoporosis",
        }
        for unit in ("level", "patient")
    },
}
"""By what is counted as one case, the statistics that Table 3's columns then show.

A method without boxes of its own has no figures by box.
"""

_BY_CASE = (
    "accuracy: class right; auc: macro one-vs-rest; recall: sensitivity for osteoporosis; one case:"
)
MEASURES = {
    "box": "accuracy: TP / (TP + FP + FN) (interpretation 15); auc: macro one-vs-rest, localised "
    "boxes; recall: class right (interpretation 14)",
    "level": f"{_BY_CASE} a patient's level",
    "patient": f"{_BY_CASE} a patient",
}
"""The same in words."""


def compare(*, variants: list[str], metrics: Path, digest: Path, table: Path) -> None:
    """Write Table 3: the literature as the paper reports it, then what was measured here.

    Parameters
    ----------
    variants : list of str
        Measured methods in order: detectors as ``backbone/attention``, baselines as ``hu/...``.
    metrics : Path
        Folder of the methods' files, ``{method}.json``.
    digest : Path
        Digest of the slice store, which says how many images the cohort gave.
    table : Path
        CSV to write; percent; ``source`` distinguishes reported and measured rows.

    Raises
    ------
    UserError
        If a file is missing, or the methods were not evaluated on the same patients.
    """
    entries = [read_entry(name, metrics) for name in variants]
    _check_alike(entries)
    images = read_json(digest)["images"]
    rows = [_reported(method) for method in TABLE3]
    for unit, statistics in UNITS.items():
        rows += [
            {**_measured(entry, unit), "images": images}
            for entry in entries
            if statistics["accuracy"] in entry.report["metrics"]
        ]
    whole = dict.fromkeys(("test_patients", "test_images"), "Int64")
    write_csv(table, pd.DataFrame(rows, columns=list(COLUMNS)).astype(whole))


def _reported(method: Method) -> Json:
    return {
        "method": method.method,
        "source": "reported",
        "images": method.images,
        "classes": method.classes,
        **{name: getattr(method, name) for name in STATISTICS},
        "measures": "as defined there",
        "data": "other images, as the paper prints it in Table 3",
    }


def _measured(entry: Entry, unit: str) -> Json:
    paper = reported(entry.backbone, entry.attention) if unit == "box" else None
    return {
        **entry.about,
        "source": "measured",
        "unit": unit,
        "classes": len(CLASSES),
        **entry.percents(UNITS[unit]),
        "paper_accuracy": paper and paper.accuracy,
        "paper_recall": paper and paper.recall,
        "measures": MEASURES[unit],
    }


def _check_alike(entries: Sequence[Entry]) -> None:
    def evaluated_on(entry: Entry) -> tuple[str, str, int]:
        report = entry.report
        return data_note(report), report["slices_sha256"], report["counts"]["patients"]

    for entry in entries:
        if evaluated_on(entry) != evaluated_on(entries[0]):
            raise UserError(
                f"metrics of {entry.name}",
                expected=f"the test patients of {entries[0].name}",
                came="others",
                remedy="run the workflow, which evaluates all methods alike",
            )


def show(*, table: Path) -> None:
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
    check_made(table)
    rows = read_csv(table)
    console = Console()
    console.print(literature_table(rows))
    measured = rows[rows["source"] == "measured"]
    for unit, group in measured.groupby("unit", sort=False):
        console.print(escape(f"By {unit}: {group['measures'].iloc[0]}."), style="dim")
    console.print(f"Data: {escape(measured['data'].iloc[0])}. Not a medical device.", style="bold")


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


if __name__ == "__main__":
    run(compare)
