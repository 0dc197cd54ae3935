"""How much two detectors differ, judged on the same patients.

Intervals and p-values look at the patients drawn, not at the trainings: every statistic is the mean
over the seeds. The interval is the percentile bootstrap of the difference, both detectors on the
same resamples. The p-value is of a paired permutation test: under the null hypothesis it makes no
difference which of the two detectors saw a patient, so for each patient a coin decides whose
detections count as whose, and both are judged anew. It keeps its level with few patients, which a
p-value read off the bootstrap does not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import starmap
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dsnet.config.evaluate import Evaluate
from dsnet.evaluate import bootstrap
from dsnet.evaluate.matching import Floats
from dsnet.evaluate.metrics import compared
from dsnet.evaluate.scene import Detections, Scene, Truth

_EQUAL = 1e-12  # two sums of the same numbers in another order


def differences(
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
    people = len(one[0].patient_keys)
    both = list(starmap(joined, zip(one, other, strict=True)))
    drawn = bootstrap.weights(people, params.bootstrap, params.seed)
    swapped = swaps(people, params.permutations, params.seed)
    sampled = _differences(both, drawn, np.zeros_like(drawn), params)
    by_lot = _differences(both, 1 - swapped, swapped, params)
    return {
        name: {**bootstrap.estimate(values), "p": _p_value(values[0], by_lot[name])}
        for name, values in sampled.items()
    }


def swaps(patients: int, permutations: int, seed: int) -> Floats:
    """Return which patients are swapped in each permutation: 0 or 1, (permutations, patients)."""
    drawn = np.random.default_rng([seed, 2]).integers(2, size=(permutations, patients))
    return drawn.astype(np.float64)


def joined(one: Scene, other: Scene) -> Scene:
    """Return both scenes as one of twice the patients, those of `one` first.

    Weights thus choose, patient by patient, whose detections count. The two versions of an image
    stand together: whichever is chosen, equal scores of different images keep their order.
    """
    people = len(one.patient_keys)
    both = [
        np.concatenate(columns)
        for columns in zip(_at(one.detections, 0), _at(other.detections, 1), strict=True)
    ]
    found = Detections(*both)
    return Scene(
        _alternating(one.patient, other.patient + people),
        one.patient_keys + other.patient_keys,
        Truth(*map(_alternating, vars(one.truth).values(), vars(other.truth).values())),
        found.take(np.argsort(found.image, kind="stable")),
        _alternating(one.row, other.row),
    )


def holm(p: "pd.Series[float]") -> "pd.Series[float]":
    """Return p-values corrected for their number.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979.
    Undefined ones stay so and do not count.
    """
    ordered = p.dropna().sort_values()
    factors = np.arange(len(ordered), 0, -1)
    return (ordered * factors).cummax().clip(upper=1).reindex(p.index)


def _differences(
    both: Sequence[Scene], own: Floats, crossed: Floats, params: Evaluate
) -> dict[str, Floats]:
    """Return each statistic's difference for each row of weights, the mean over the seeds.

    Parameters
    ----------
    both : sequence of Scene
        As `joined`, by seed.
    own, crossed : float64 (samples, patients)
        How often a patient counts with the detections of the detector that is judged, and with
        those of the other one.
    params : Evaluate
    """
    first, second = (
        _means(both, np.hstack(halves), params) for halves in ((own, crossed), (crossed, own))
    )
    return {name: values - second[name] for name, values in first.items()}


def _means(both: Sequence[Scene], weights: Floats, params: Evaluate) -> dict[str, Floats]:
    point = {"iou": params.iou, "score": params.score}
    judged = [compared(scene, weights, **point, rule=params.patient_label) for scene in both]
    return {name: np.mean([one[name] for one in judged], axis=0) for name in judged[0]}


def _p_value(observed: float, by_lot: Floats) -> float | None:
    """Return the share of swaps that differ as much, the observation itself counted in."""
    defined = by_lot[~np.isnan(by_lot)]
    if np.isnan(observed) or not len(defined):
        return None
    as_far = np.abs(defined) >= abs(observed) - _EQUAL
    return bootstrap.number((1 + as_far.sum()) / (1 + len(defined)))


def _at(found: Detections, place: int) -> Iterable[Any]:
    """Return the columns of `found`, each image at `place` of two."""
    return vars(replace(found, image=2 * found.image + place)).values()


def _alternating(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Return the rows of both in turn."""
    return np.stack([one, other], axis=1).reshape(-1, *one.shape[1:])
