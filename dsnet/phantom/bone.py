"""Bone that follows the T-score, but never exactly: what the phantom lets a detector know.

Each cue shows the T-score through its own monotone function, off by its own scatter, which all
levels and slices of a patient share. Levels differ a little, as their DXA T-scores do. So there is
a best possible classifier, it is not perfect, and `dsnet.phantom.ceiling` computes it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsnet.schemas import CLASSES, LEVELS

ALL_LEVELS = ("T12", *LEVELS, "L5")
"""Vertebrae that the phantom shows, from head to foot."""

BOUNDARY_TENTHS = {"normal": -10, "osteoporosis": -25}
"""T-scores that lie exactly on a WHO threshold, by the class that they belong to.

docs/interpretations.md#18
"""

CUE_SCATTER = {"trabecular_hu": 1.0, "texture_hu": 1.1, "cortex_mm": 0.9}
"""Standard deviation, in T-score units, by which a patient's cue misses the T-score.

1.0 for the HU gives a correlation of 0.7 with the T-score where T-scores have a standard deviation
of 1, as in the population in which the published 0.6 to 0.7 were found.
"""

LEVEL_SCATTER = 0.25
"""Standard deviation of a level's T-score about its patient's."""

# Mean, standard deviation, lowest and highest T-score of a class, in tenths.
_T_TENTHS = {
    "normal": (2.0, 5.5, -10, 20),
    "osteopenia": (-17.5, 3.5, -24, -11),
    "osteoporosis": (-34.0, 5.0, -50, -25),
}


@dataclass(frozen=True)
class Cues:
    """What one vertebra shows of its T-score.

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
        How far each cue misses the T-score, in the order of `CUE_SCATTER`.
    """

    tenths: int
    deviation: dict[str, float]
    scatter: tuple[float, ...]

    def cues(self, level: str | None = None) -> Cues:
        """Return what `level` shows, or, without a level, the patient as a whole."""
        t_score = self.tenths / 10 + (self.deviation[level] if level else 0.0)
        hu, texture, cortex = (t_score + miss for miss in self.scatter)
        return Cues(
            trabecular_hu=float(156 * np.exp(0.1925 * (hu - 0.2))),
            texture_hu=float(8 + 95 / (1 + np.exp(1.1 * (texture + 2.5)))),
            cortex_mm=float(2.7 * np.exp(0.26 * cortex)),
        )

    def level_tenths(self, level: str) -> int:
        """Return the level's own T-score as DXA reports it, times ten."""
        return round(self.tenths + 10 * self.deviation[level])


def t_score_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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


def draw_bone(rng: np.random.Generator, label: str, *, boundary: bool = False) -> Bone:
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
        # Four deviations of four independent draws from their mean; the factor restores the spread.
        deviation[level] = float((deviation[level] - mean) * np.sqrt(4 / 3))
    scatter = tuple(float(rng.normal(0, sigma)) for sigma in CUE_SCATTER.values())
    return Bone(tenths, deviation, scatter)
