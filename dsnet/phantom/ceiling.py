"""The best that any classifier or detector can reach on the phantom.

A cue is a monotone function of the T-score plus Gaussian scatter, so the three together tell as
much as one T-score measured with the variance 1 / sum(1 / s_k^2): the ideal observer's posterior
follows from that number alone. One image adds the scatter of its level. Noise, blur, the finite
training part and everything else that a real detector suffers from are left out.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsnet.phantom.bone import CUE_SCATTER, LEVEL_SCATTER, Bone, t_score_table
from dsnet.schemas import CLASSES, LEVELS

_Numbers = NDArray[np.float64]


def posterior(measured: _Numbers, variance: float) -> _Numbers:
    """Return the class probabilities given a T-score measured with Gaussian error.

    Parameters
    ----------
    measured : array, shape (n,)
    variance : float
        Of the error, in T-score units squared.

    Returns
    -------
    array, shape (3, n)
        Columns sum to 1; the three classes are equally frequent beforehand.
    """
    t_scores, probability = t_score_table()
    grid = np.linspace(-12, 9, 2101)
    density = probability @ np.exp(-0.5 * (grid - t_scores[:, None]) ** 2 / variance)
    density /= density.sum(axis=0)
    return np.array([np.interp(measured, grid, row) for row in density])


def average_precision(score: _Numbers, positive: NDArray[np.bool_]) -> float:
    """Return COCO's average precision of boxes that are all in the right place.

    101 recall points, precision made monotone from the right.
    """
    hit = positive[np.argsort(-score, kind="stable")]
    found = np.cumsum(hit)
    precision = np.maximum.accumulate((found / np.arange(1, len(hit) + 1))[::-1])[::-1]
    at = np.searchsorted(found / found[-1], np.linspace(0, 1, 101))
    return float(precision[np.minimum(at, len(hit) - 1)].mean())


def ceiling(seed: int, draws: int = 20000, test_patients: int = 7) -> dict[str, Any]:
    """Return the accuracies and the mAP of an ideal observer who knows the generator.

    Parameters
    ----------
    seed : int
    draws : int
        Patients drawn per class.
    test_patients : int
        Patients per class of the test part for which the chance spread of the mAP is wanted.
    """
    rng = np.random.default_rng([seed, 0, 1])
    scatter = np.array(list(CUE_SCATTER.values()))
    error = {"hu": scatter[0] ** 2, "cues": 1 / np.sum(scatter**-2.0)}
    truth, t_score, miss, levels = _draw(rng, draws, scatter)
    result: dict[str, Any] = {"draws_per_class": draws, "seed": [seed, 0, 1], "method": _METHOD}
    for name, shown in (("hu", miss[:, 0]), ("cues", _combine(miss, scatter))):
        patient = posterior(t_score + shown, error[name])
        images = (t_score + shown)[:, None] + levels
        image = posterior(images.ravel(), error[name] + LEVEL_SCATTER**2)
        result[f"{name}_accuracy"] = _accuracy(image, np.repeat(truth, len(LEVELS)))
        result[f"{name}_accuracy_patient"] = _accuracy(patient, truth)
    result["map_ceiling"] = _map(image, np.repeat(truth, len(LEVELS)))
    result["map_ceiling_test_part"] = _spread(image.reshape(3, 3, draws, -1), test_patients, rng)
    balanced = np.corrcoef(t_score, t_score + miss[:, 0])[0, 1]
    result["hu_t_correlation"] = round(float(balanced), 4)
    result["hu_t_correlation_population"] = round(float((1 + error["hu"]) ** -0.5), 4)
    return result


_METHOD = (
    "Monte Carlo with the exact posterior. *_accuracy: one image at a time; *_accuracy_patient: "
    "all levels of a patient together. map_ceiling: class-mean AP50 in percent of a detector "
    "that finds every body and scores with the posterior of its image. map_ceiling_test_part: the "
    "same on random test parts of that many patients per class. hu_t_correlation: of ln HU with "
    "T under equal class sizes, which widen the spread of T; hu_t_correlation_population: where T "
    "has a standard deviation of 1."
)


def realised(bones: list[tuple[str, Bone]]) -> dict[str, float]:
    """Return the ideal observer's patient accuracies on the patients really drawn."""
    scatter = np.array(list(CUE_SCATTER.values()))
    truth = np.array([CLASSES.index(label) for label, _ in bones])
    t_score = np.array([bone.tenths / 10 for _, bone in bones])
    miss = np.array([bone.scatter for _, bone in bones])
    hu = posterior(t_score + miss[:, 0], scatter[0] ** 2)
    cues = posterior(t_score + _combine(miss, scatter), 1 / np.sum(scatter**-2.0))
    return {
        "hu_accuracy_patient": _accuracy(hu, truth),
        "cues_accuracy_patient": _accuracy(cues, truth),
    }


def _draw(
    rng: np.random.Generator, draws: int, scatter: _Numbers
) -> tuple[NDArray[np.intp], _Numbers, _Numbers, _Numbers]:
    t_scores, probability = t_score_table()
    truth = np.repeat(np.arange(len(CLASSES)), draws)
    t_score = np.concatenate([rng.choice(t_scores, draws, p=row) for row in probability])
    miss = rng.normal(0, scatter, (len(truth), len(scatter)))
    levels = rng.normal(0, LEVEL_SCATTER, (len(truth), len(LEVELS)))
    levels = (levels - levels.mean(axis=1, keepdims=True)) * np.sqrt(4 / 3)
    return truth, t_score, miss, levels


def _combine(miss: _Numbers, scatter: _Numbers) -> _Numbers:
    weight = scatter**-2.0 / np.sum(scatter**-2.0)
    return np.asarray(miss @ weight)


def _accuracy(probability: _Numbers, truth: NDArray[np.intp]) -> float:
    return round(float((probability.argmax(axis=0) == truth).mean()), 6)


def _map(probability: _Numbers, truth: NDArray[np.intp]) -> float:
    by_class = [average_precision(row, truth == k) for k, row in enumerate(probability)]
    return round(100 * float(np.mean(by_class)), 4)


def _spread(image: _Numbers, patients: int, rng: np.random.Generator) -> dict[str, float]:
    """Return mean and 95 % range of the mAP; axes: class scored, true class, patient, level."""
    truth = np.repeat(np.arange(len(CLASSES)), patients * image.shape[-1])
    maps = []
    for _ in range(500):
        chosen = rng.integers(image.shape[2], size=patients)
        maps.append(_map(image[:, :, chosen].reshape(len(CLASSES), -1), truth))
    numbers = np.array([np.mean(maps), *np.percentile(maps, (2.5, 97.5))]).round(4).tolist()
    return {
        "patients_per_class": patients,
        **dict(zip(("mean", "low", "high"), numbers, strict=True)),
    }
