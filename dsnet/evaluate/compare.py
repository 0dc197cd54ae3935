"""Each attention against none, on the same patients: ``python -m dsnet.evaluate.compare``.

Intervals and p-values are over the patients sampled, not over the trainings: every statistic is
the mean over the seeds. The interval is the percentile bootstrap of the difference, both detectors
on the same resamples. The p-value is of a paired permutation test: under the null hypothesis it
makes no difference which of the two detectors saw a patient, so for each patient a coin decides
whose detections count as whose, and both are evaluated again. It keeps its level with few
patients, which a p-value derived from the bootstrap does not.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dsnet.config.evaluate import Evaluate
from dsnet.errors import UserError
from dsnet.evaluate.metrics import comparison_statistics
from dsnet.evaluate.provenance import data_note, read_provenance
from dsnet.evaluate.resampling import bootstrap_weights, estimate, number
from dsnet.evaluate.scene import Detections, Floats, Scene, Truth, read_scenes
from dsnet.evaluate.step import SUBSET
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

_EQUAL = 1e-12  # two sums of the same numbers in another order


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
        CSV to write: differences in percent points with 95 % bounds; p-values, and with Holm's
        correction over all comparisons of one statistic. Blank where undefined.
    params : Evaluate

    Raises
    ------
    UserError
        If a file is missing, or a backbone lacks its variant without attention.
    """
    scenes = {}
    for name in variants:
        files = [predictions / name / f"seed{seed}" / f"{SUBSET}.parquet" for seed in seeds]
        scenes[name] = read_scenes(files, boxes, split, SUBSET)
    rows = [row for pair in pairs(variants) for row in _rows(*pair, scenes, params)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["p_holm"] = table.groupby("statistic")["p"].transform(holm)
    table["seeds"] = len(seeds)
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


def paired_differences(
    one: Sequence[Scene], other: Sequence[Scene], params: Evaluate
) -> dict[str, dict[str, float | None]]:
    """Return, by statistic, how much `one` is above `other`.

    Parameters
    ----------
    one, other : sequence of Scene
        Two detectors on the same images, by seed.
    params : Evaluate

    Returns
    -------
    dict
        By statistic ``value``, ``low``, ``high`` (fractions) and ``p`` (two-sided); None where
        undefined.
    """
    patients = len(one[0].patient_keys)
    both = list(starmap(joined, zip(one, other, strict=True)))
    weights = bootstrap_weights(patients, params.bootstrap, params.seed)
    swapped = swaps(patients, params.permutations, params.seed)
    sampled = _differences(both, weights, np.zeros_like(weights), params)
    permuted = _differences(both, 1 - swapped, swapped, params)
    return {
        name: {**estimate(values), "p": _p_value(values[0], permuted[name])}
        for name, values in sampled.items()
    }


def swaps(patients: int, permutations: int, seed: int) -> Floats:
    """Return which patients are swapped in each permutation: 0 or 1, (permutations, patients)."""
    coins = np.random.default_rng([seed, 2]).integers(2, size=(permutations, patients))
    return coins.astype(np.float64)


def joined(one: Scene, other: Scene) -> Scene:
    """Return both scenes as one of twice the patients, those of `one` first.

    Weights thus choose, patient by patient, whose detections count. The two versions of an image
    stand together: whichever is chosen, equal scores of different images keep their order.
    """
    patients = len(one.patient_keys)
    columns = zip(_at(one.detections, 0), _at(other.detections, 1), strict=True)
    detections = Detections(*(np.concatenate(column) for column in columns))
    return Scene(
        _alternating(one.patient, other.patient + patients),
        one.patient_keys + other.patient_keys,
        Truth(*map(_alternating, vars(one.truth).values(), vars(other.truth).values())),
        detections.take(np.argsort(detections.image, kind="stable")),
        _alternating(one.row, other.row),
    )


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
    name: str, baseline: str, scenes: dict[str, list[Scene]], params: Evaluate
) -> Iterator[dict[str, Any]]:
    backbone, attention = name.split("/")
    differences = paired_differences(scenes[name], scenes[baseline], params)
    for statistic, values in differences.items():
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


def _differences(
    both: Sequence[Scene], own: Floats, crossed: Floats, params: Evaluate
) -> dict[str, Floats]:
    """Return each statistic's difference for each row of weights, the mean over the seeds.

    Parameters
    ----------
    both : sequence of Scene
        As `joined`, by seed.
    own, crossed : float64 (samples, patients)
        How often a patient counts with the detections of the detector that is evaluated, and with
        those of the other one.
    params : Evaluate
    """
    first, second = (
        _means(both, np.hstack(halves), params) for halves in ((own, crossed), (crossed, own))
    )
    return {name: values - second[name] for name, values in first.items()}


def _means(both: Sequence[Scene], weights: Floats, params: Evaluate) -> dict[str, Floats]:
    by_seed = [
        comparison_statistics(
            scene, weights, iou=params.iou, score=params.score, rule=params.patient_label
        )
        for scene in both
    ]
    return {name: np.mean([one[name] for one in by_seed], axis=0) for name in by_seed[0]}


def _p_value(observed: float, permuted: Floats) -> float | None:
    """Return the share of swaps that differ as much, the observation itself counted in."""
    defined = permuted[~np.isnan(permuted)]
    if np.isnan(observed) or not len(defined):
        return None
    as_far = np.abs(defined) >= abs(observed) - _EQUAL
    return number((1 + as_far.sum()) / (1 + len(defined)))


def _at(detections: Detections, offset: int) -> Iterable[Any]:
    """Return the columns of `detections`, each image at `offset` of two."""
    return vars(replace(detections, image=2 * detections.image + offset)).values()


def _alternating(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Return the rows of both in turn."""
    return np.stack([one, other], axis=1).reshape(-1, *one.shape[1:])


if __name__ == "__main__":
    run(compare)
