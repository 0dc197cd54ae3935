"""Each attention against none, on the same patients: ``python -m dsnet.evaluate.compare``.

A module is more than one training of it. With several seeds, trainings and patients are random:
the two trainings of a seed, which share their first weights and the order of their batches, are
compared on the same patients, and interval and p-value are those of `dsnet.evaluate.intervals`.
With one seed there is no p-value, and the interval is about these two trainings.

`dsnet.evaluate.metrics.PRIMARY` is the one statistic on which modules are tested, with Holm's
correction over them; the p-values of all others are exploratory and not corrected.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dsnet.config.evaluate import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate.intervals import bootstrap_weights, difference_over_seeds, scope
from dsnet.evaluate.metrics import PRIMARY, comparison_statistics
from dsnet.evaluate.provenance import data_note, read_provenance
from dsnet.evaluate.scene import Floats, read_scenes
from dsnet.evaluate.step import SUBSET
from dsnet.files import write_csv
from dsnet.step import run

COLUMNS = (
    "backbone",
    "attention",
    "statistic",
    "role",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "seeds",
    "scope",
    "test_patients",
    "data",
)

ROLES = {True: "primary", False: "exploratory"}
"""Of a statistic, by whether it is `PRIMARY`."""


def compare(
    *,
    variants: list[str],
    seeds: list[int],
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
    variants : list of str
        ``backbone/attention``, ``none`` of each backbone among them.
    seeds : list of int
        That each was trained with.
    predictions : Path
        Folder of ``{backbone}/{attention}/seed{seed}/test.parquet``, `schemas.PREDICTIONS`.
    boxes, split : Path
        `schemas.SLICES` and `schemas.SPLIT`.
    digest : Path
        ``slices.json``, which names the cohort.
    differences : Path
        CSV to write: differences in percent points with 95 % bounds; two-sided p-values, and of the
        primary statistic those with Holm's correction over all comparisons; what both generalise
        to. Blank where undefined, and p-values wherever there is one seed alone.
    params : Evaluate

    Raises
    ------
    UserError
        If a file is missing, or a backbone lacks its variant without attention.
    """
    compared = pairs(variants)
    values, patients = {}, 0
    for name in variants:
        files = [predictions / name / f"seed{seed}" / f"{SUBSET}.parquet" for seed in seeds]
        scenes = read_scenes(files, boxes, split, SUBSET)
        patients = len(scenes[0].patient_keys)
        weights = bootstrap_weights(patients, params.bootstrap, params.seed)
        point = {"iou": params.iou, "score": params.score}
        by_seed = [
            comparison_statistics(scene, weights, **point, rule=params.patient_label)
            for scene in scenes
        ]
        values[name] = {
            statistic: np.stack([one[statistic] for one in by_seed]) for statistic in by_seed[0]
        }
    rows = [_rows(name, values[name], values[baseline]) for name, baseline in compared]
    table = pd.DataFrame(chain.from_iterable(rows)).reindex(columns=list(COLUMNS))
    primary = table["statistic"] == PRIMARY
    table["p_holm"] = holm(table["p"].astype(float).where(primary))
    table["seeds"] = len(seeds)
    table["scope"] = scope(len(seeds), "these two trainings")
    table["test_patients"] = patients
    table["data"] = data_note(read_provenance(digest, split))
    write_csv(differences, table)


def pairs(variants: Sequence[str]) -> list[tuple[str, str]]:
    """Return each detector with attention and that without, of the same backbone.

    Raises
    ------
    UserError
        If a backbone lacks the one without.

    Examples
    --------
    >>> pairs(["vgg16/none", "vgg16/ds"])
    [('vgg16/ds', 'vgg16/none')]
    """
    with_attention = []
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
            with_attention.append((name, baseline))
    return with_attention


def holm(p: "pd.Series[float]") -> "pd.Series[float]":
    """Return p-values corrected for their number.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979.
    Undefined ones stay so and do not count.

    Examples
    --------
    >>> holm(pd.Series([0.01, 0.04])).tolist()
    [0.02, 0.04]
    """
    ordered = p.dropna().sort_values()
    factors = np.arange(len(ordered), 0, -1)
    return (ordered * factors).cummax().clip(upper=1).reindex(p.index)


def _rows(
    name: str, own: dict[str, Floats], baseline: dict[str, Floats]
) -> Iterator[dict[str, Any]]:
    backbone, attention = name.split("/")
    for statistic, values in own.items():
        difference = difference_over_seeds(values - baseline[statistic])
        yield {
            "backbone": backbone,
            "attention": attention,
            "statistic": statistic,
            "role": ROLES[statistic == PRIMARY],
            "difference": _points(difference["value"]),
            "low": _points(difference["low"]),
            "high": _points(difference["high"]),
            "p": difference["p"],
        }


def _points(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 4)


if __name__ == "__main__":
    run(compare)
