"""The paper's Table 3, and the same measured here: ``python -m dsnet.tables.literature``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dsnet.errors import UserError
from dsnet.evaluate.provenance import data_note
from dsnet.files import read_json, write_csv
from dsnet.schemas import CLASSES
from dsnet.step import run
from dsnet.tables.methods import Entry, Json, method_of, percent, read_report
from dsnet.tables.paper import TABLE3, Method, reported

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


@dataclass(frozen=True)
class Unit:
    """What is counted as one case, and the statistics that Table 3's columns then show.

    Attributes
    ----------
    accuracy, auc, recall : str
        Keys of the metrics file.
    measures : str
        The same in words.
    """

    accuracy: str
    auc: str
    recall: str
    measures: str


_RECALL = "recall: sensitivity for osteoporosis"
UNITS = {
    "box": Unit(
        "accuracy",
        "localised_macro_auc",
        "recall",
        "accuracy: TP / (TP + FP + FN) (interpretation 15); auc: macro one-vs-rest, localised "
        "boxes; recall: class right (interpretation 14)",
    ),
    "level": Unit(
        "level_accuracy",
        "level_macro_auc",
        "level_sensitivity_osteoporosis",
        f"accuracy: class right; auc: macro one-vs-rest; {_RECALL}; one case: a patient's level",
    ),
    "patient": Unit(
        "patient_accuracy",
        "patient_macro_auc",
        "patient_sensitivity_osteoporosis",
        f"accuracy: class right; auc: macro one-vs-rest; {_RECALL}; one case: a patient",
    ),
}
"""A method without boxes of its own has no figures by box."""


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
    entries = [Entry(name, read_report(metrics, name)) for name in variants]
    write_csv(table, compared(entries, images=read_json(digest)["images"]))


def compared(entries: Sequence[Entry], *, images: int) -> pd.DataFrame:
    """Return Table 3; by unit, and within a unit in the order given.

    Parameters
    ----------
    entries : sequence of Entry
    images : int
        Of the whole cohort, as the literature counts them.
    """
    _check_alike(entries)
    rows = [_reported(method) for method in TABLE3]
    for name, unit in UNITS.items():
        rows += [
            {**_measured(entry, name, unit), "images": images}
            for entry in entries
            if unit.accuracy in entry.report["metrics"]
        ]
    whole = dict.fromkeys(("test_patients", "test_images"), "Int64")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(whole)


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


def _measured(entry: Entry, name: str, unit: Unit) -> Json:
    paper = reported(entry.backbone, entry.attention) if name == "box" else None
    figures = {
        f"{statistic}{suffix}": percent(entry.value(getattr(unit, statistic), bound))
        for statistic in STATISTICS
        for suffix, bound in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    return {
        "method": method_of(entry.name),
        "source": "measured",
        "unit": name,
        "classes": len(CLASSES),
        "test_patients": entry.report["counts"]["patients"],
        "test_images": entry.report["counts"]["images"],
        **figures,
        "paper_accuracy": paper and paper.accuracy,
        "paper_recall": paper and paper.recall,
        "measures": unit.measures,
        "data": data_note(entry.report),
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


if __name__ == "__main__":
    run(compare)
