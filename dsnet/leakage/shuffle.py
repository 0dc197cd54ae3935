"""Labels drawn by lot: each patient takes the labels of another, as one profile of levels."""

import numpy as np
import pandas as pd

from dsnet.schemas import CLASSES, LEVELS


def shuffled(rows: pd.DataFrame, rng: np.random.Generator) -> "pd.Series[str]":
    """Return the labels, permuted among the patients.

    A box takes the class that the other patient has at its level or, where that patient has no box
    at this level, at the nearest level (of two, the upper). So as many patients as before have each
    profile, and a patient's slices still agree.

    Parameters
    ----------
    rows : DataFrame
        `patient_key`, `level` and `label` of each box. Patients are numbered in the order of their
        first row, so that rows in the order of the slice store make the lot the same for any key.
    rng : Generator

    Returns
    -------
    Series of str
        By the index of `rows`.
    """
    patient, keys = pd.factorize(rows["patient_key"])
    level = rows["level"].map(LEVELS.index).to_numpy()
    profile = np.full((len(keys), len(LEVELS)), -1)
    # Backwards, so that the first box of a level is what stays.
    profile[patient[::-1], level[::-1]] = rows["label"].map(CLASSES.index).to_numpy()[::-1]
    step = np.arange(len(LEVELS))
    distance = np.abs(step[:, None] - step) + np.where(profile < 0, len(LEVELS), 0)[:, None]
    whole = np.take_along_axis(profile, distance.argmin(axis=2), axis=1)
    labels = whole[rng.permutation(len(keys))][patient, level]
    return pd.Series([CLASSES[label] for label in labels], index=rows.index, dtype=str)
