"""Bone that follows the T-score, but never exactly, and the best that can be read from it.

Each cue shows the T-score through its own monotone function, off by its own Gaussian scatter, which
all levels and slices of a patient share. Levels differ a little, as their DXA T-scores do. So there
is a best possible classifier, it is not perfect, and `ceiling` computes it: the three cues together
carry as much as one T-score measured with the variance 1 / sum(1 / s_k^2), from which the ideal
observer's posterior follows. One image adds the scatter of its level. Noise, blur, the finite
training subset and everything else that a real detector suffers from are left out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsnet.schemas import CLASSES, LEVELS

ALL_LEVELS = ("T12", *LEVELS, "L5")
"""Vertebrae of the phantom, from head to foot."""

BOUNDARY_TENTHS = {"normal": -10, "osteoporosis": -25}
"""T-scores exactly on a WHO threshold, by the class that they belong to.

docs/interpretations.md#18
"""

CUE_SCATTER = {"trabecular_hu": 1.0, "texture_hu": 1.1, "cortex_mm": 0.9}
"""Standard deviation, in T-score units, of the error of a patient's cue.

1.0 for the HU gives a correlation of 0.7 with the T-score where T-scores have a standard deviation
of 1, as in the population in which the published 0.6 to 0.7 were found.
"""

LEVEL_SCATTER = 0.25
"""Standard deviation of a level's T-score about its patient's."""

_Numbers = NDArray[np.float64]

# Mean, standard deviation, lowest and highest T-score of a class, in tenths.
_T_TENTHS = {
    "normal": (2.0, 5.5, -10, 20),
    "osteopenia": (-17.5, 3.5, -24, -11),
    "osteoporosis": (-34.0, 5.0, -50, -25),
}


@dataclass(frozen=True)
class Cues:
    """What the image of one vertebra shows of its T-score.

    Attributes
    ----------
    trabecular_hu : float
        Mean HU of trabecular bone.
    texture_hu : float
        Standard deviation of the trabecular bone's blotches, 3 to 6 mm wide.
    cortex_mm : float
        Thickness of the body's cortical shell.
    """

    trabecular_hu: float
    texture_hu: float
    cortex_mm: float


@dataclass(frozen=True)
class Bone:
    """One patient's bone.

    Attributes
    ----------
    tenths : int
        Lumbar T-score as DXA reports it, times ten: exact, unlike a binary float.
    deviation : dict of str to float
        How far each level's T-score lies from the patient's; L1 to L4 sum to zero.
    scatter : tuple of float
        Error of each cue in T-score units, in the order of `CUE_SCATTER`.
    """

    tenths: int
    deviation: dict[str, float]
    scatter: tuple[float, ...]

    def cues(self, level: str | None = None) -> Cues:
        """Return the cues of `level` or, without a level, those of the patient's own T-score."""
        t_score = self.tenths / 10 + (self.deviation[level] if level else 0.0)
        hu, texture, cortex = (t_score + error for error in self.scatter)
        return Cues(
            trabecular_hu=float(156 * np.exp(0.1925 * (hu - 0.2))),
            texture_hu=float(8 + 95 / (1 + np.exp(1.1 * (texture + 2.5)))),
            cortex_mm=float(2.7 * np.exp(0.26 * cortex)),
        )

    def level_tenths(self, level: str) -> int:
        """Return the level's own T-score as DXA reports it, times ten."""
        return round(self.tenths + 10 * self.deviation[level])


def t_score_table() -> tuple[_Numbers, _Numbers]:
    """Return every T-score of the phantom and its probability within each class.

    Returns
    -------
    t_scores : array, shape (n,)
        In steps of 0.1, ascending.
    probability : array, shape (3, n)
        Rows in the order of `CLASSES`, each summing to 1.
    """
    tenths = np.arange(-50, 21)
    rows = []
    for name in CLASSES:
        mean, deviation, lowest, highest = _T_TENTHS[name]
        weight = np.exp(-0.5 * ((tenths - mean) / deviation) ** 2)
        weight[(tenths < lowest) | (tenths > highest)] = 0
        rows.append(weight / weight.sum())
    return tenths / 10, np.array(rows)


def sample_bone(rng: np.random.Generator, label: str, *, boundary: bool = False) -> Bone:
    """Return the bone of a patient of class `label`.

    Parameters
    ----------
    rng : Generator
    label : {"normal", "osteopenia", "osteoporosis"}
    boundary : bool
        Whether the T-score shall be the threshold itself, where the class has one.
    """
    t_scores, probability = t_score_table()
    tenths = round(10 * rng.choice(t_scores, p=probability[CLASSES.index(label)]))
    if boundary and label in BOUNDARY_TENTHS:
        tenths = BOUNDARY_TENTHS[label]
    deviation = dict(zip(ALL_LEVELS, rng.normal(0, LEVEL_SCATTER, len(ALL_LEVELS)), strict=True))
    mean = sum(deviation[level] for level in LEVELS) / len(LEVELS)
    for level in LEVELS:
        # The deviations of four values from their own mean; the factor restores their spread.
        deviation[level] = float((deviation[level] - mean) * np.sqrt(4 / 3))
    scatter = tuple(float(rng.normal(0, sigma)) for sigma in CUE_SCATTER.values())
    return Bone(tenths, deviation, scatter)


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
    """Return COCO's average precision of boxes that all match their ground truth.

    101 recall points, precision made monotone from the right.
    """
    hit = positive[np.argsort(-score, kind="stable")]
    matched = np.cumsum(hit)
    precision = np.maximum.accumulate((matched / np.arange(1, len(hit) + 1))[::-1])[::-1]
    at = np.searchsorted(matched / matched[-1], np.linspace(0, 1, 101))
    return float(precision[np.minimum(at, len(hit) - 1)].mean())


def ceiling(seed: int, samples: int = 20000, test_patients: int = 7) -> dict[str, Any]:
    """Return the accuracies and the mAP of an ideal observer who knows the generator.

    Parameters
    ----------
    seed : int
    samples : int
        Patients sampled per class.
    test_patients : int
        Patients per class of the test subset for which the chance spread of the mAP is wanted.
    """
    rng = np.random.default_rng([seed, 0, 1])
    scatter = np.array(list(CUE_SCATTER.values()))
    variance = {"hu": scatter[0] ** 2, "cues": 1 / np.sum(scatter**-2.0)}
    truth, t_score, errors, levels = _sample(rng, samples, scatter)
    result: dict[str, Any] = {"samples_per_class": samples, "seed": [seed, 0, 1], "method": _METHOD}
    for name, error in (("hu", errors[:, 0]), ("cues", _combine(errors, scatter))):
        patient = posterior(t_score + error, variance[name])
        images = (t_score + error)[:, None] + levels
        image = posterior(images.ravel(), variance[name] + LEVEL_SCATTER**2)
        result[f"{name}_accuracy"] = _accuracy(image, np.repeat(truth, len(LEVELS)))
        result[f"{name}_accuracy_patient"] = _accuracy(patient, truth)
    result["map_ceiling"] = _map(image, np.repeat(truth, len(LEVELS)))
    result["map_ceiling_test_subset"] = _spread(
        image.reshape(3, 3, samples, -1), test_patients, rng
    )
    balanced = np.corrcoef(t_score, t_score + errors[:, 0])[0, 1]
    result["hu_t_correlation"] = round(float(balanced), 4)
    result["hu_t_correlation_population"] = round(float((1 + variance["hu"]) ** -0.5), 4)
    return result


_METHOD = (
    "Monte Carlo with the exact posterior. *_accuracy: one image at a time; *_accuracy_patient: "
    "all levels of a patient together. map_ceiling: class-mean AP50 in percent of a detector "
    "that detects every body and scores with the posterior of its image. map_ceiling_test_subset: "
    "the same on random test subsets of that many patients per class. hu_t_correlation: of ln HU "
    "with T under equal class sizes, which widen the spread of T; hu_t_correlation_population: "
    "where T has a standard deviation of 1."
)


def realised(bones: list[tuple[str, Bone]]) -> dict[str, float]:
    """Return the ideal observer's patient accuracies on the cohort's own patients."""
    scatter = np.array(list(CUE_SCATTER.values()))
    truth = np.array([CLASSES.index(label) for label, _ in bones])
    t_score = np.array([bone.tenths / 10 for _, bone in bones])
    errors = np.array([bone.scatter for _, bone in bones])
    hu = posterior(t_score + errors[:, 0], scatter[0] ** 2)
    cues = posterior(t_score + _combine(errors, scatter), 1 / np.sum(scatter**-2.0))
    return {
        "hu_accuracy_patient": _accuracy(hu, truth),
        "cues_accuracy_patient": _accuracy(cues, truth),
    }


def _sample(
    rng: np.random.Generator, samples: int, scatter: _Numbers
) -> tuple[NDArray[np.intp], _Numbers, _Numbers, _Numbers]:
    t_scores, probability = t_score_table()
    truth = np.repeat(np.arange(len(CLASSES)), samples)
    t_score = np.concatenate([rng.choice(t_scores, samples, p=row) for row in probability])
    errors = rng.normal(0, scatter, (len(truth), len(scatter)))
    levels = rng.normal(0, LEVEL_SCATTER, (len(truth), len(LEVELS)))
    levels = (levels - levels.mean(axis=1, keepdims=True)) * np.sqrt(4 / 3)
    return truth, t_score, errors, levels


def _combine(errors: _Numbers, scatter: _Numbers) -> _Numbers:
    """Return the error of the T-score that the cues give together, weighted by precision."""
    weight = scatter**-2.0 / np.sum(scatter**-2.0)
    return np.asarray(errors @ weight)


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
