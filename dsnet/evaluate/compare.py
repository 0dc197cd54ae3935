"""Each attention against none, on the same patients: ``python -m dsnet.evaluate.compare``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dsnet.config.evaluate import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate.about import note_of, read_about
from dsnet.evaluate.paired import differences as paired_differences
from dsnet.evaluate.paired import holm
from dsnet.evaluate.report import PART
from dsnet.evaluate.scene import Scene, read_scenes
from dsnet.files import write_csv
from dsnet.step import run

COLUMNS = (
    "backbone",
    "attention",
    "statistic",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "seeds",
    "test_patients",
    "data",
)


def compare(
    *,
    variants: str,
    seeds: str,
    predictions: Path,
    boxes: Path,
    split: Path,
    digest: Path,
    differences: Path,
    params: Evaluate,
) -> None:
    """Write how much each attention differs from none of the same backbone.

    Parameters
    ----------
    variants : str
        With commas between, ``none`` of each backbone among them: ``resnet50/none,resnet50/se``.
    seeds : str
        That each was trained with, with commas between: ``0,1,2``.
    predictions : Path
        Folder of ``{backbone}/{attention}/seed{seed}/test.parquet``, `schemas.PREDICTIONS`.
    boxes, split : Path
        `schemas.SLICES` and `schemas.SPLIT`.
    digest : Path
        ``slices.json``, which names the cohort.
    differences : Path
        CSV to write: differences in percent points with 95 % bounds; p-values, and with Holm's
        correction over all comparisons of one statistic. Blank where undefined.
    params : Evaluate
    """
    numbers = [int(seed) for seed in seeds.split(",")]
    scenes = {}
    for name in variants.split(","):
        files = [predictions / name / f"seed{number}" / f"{PART}.parquet" for number in numbers]
        scenes[name] = read_scenes(files, boxes, split, PART)
    rows = [row for pair in pairs(list(scenes)) for row in _rows(*pair, scenes, params)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["p_holm"] = table.groupby("statistic")["p"].transform(holm)
    table["seeds"] = len(numbers)
    table["data"] = note_of(read_about(digest, split))
    write_csv(differences, table)


def pairs(variants: Sequence[str]) -> list[tuple[str, str]]:
    """Return each detector with attention and that without, of the same backbone.

    Raises
    ------
    UserError
        If a backbone lacks the one without.
    """
    found = []
    for name in variants:
        backbone, attention = name.split("/")
        baseline = f"{backbone}/none"
        if baseline not in variants:
            raise UserError(
                "--variants",
                expected=f"{baseline}, which {name} is compared with",
                came="none",
                remedy="add it",
            )
        if attention != "none":
            found.append((name, baseline))
    return found


def _rows(
    name: str, baseline: str, scenes: dict[str, list[Scene]], params: Evaluate
) -> Iterator[dict[str, Any]]:
    backbone, attention = name.split("/")
    told = paired_differences(scenes[name], scenes[baseline], params)
    for statistic, values in told.items():
        yield {
            "backbone": backbone,
            "attention": attention,
            "statistic": statistic,
            "difference": _points(values["value"]),
            "low": _points(values["low"]),
            "high": _points(values["high"]),
            "p": values["p"],
            "test_patients": len(scenes[name][0].patient_keys),
        }


def _points(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 4)


if __name__ == "__main__":
    run(compare)
