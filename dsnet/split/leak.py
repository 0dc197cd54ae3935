"""The mark of a split by image, and how much it leaks (docs/interpretations.md#11)."""

from typing import Any

import pandas as pd

from dsnet.errors import UserError

LEAKY = "LEAKY"
"""What every file and table says that a split by image touches."""


def stamp(split: pd.DataFrame) -> pd.DataFrame:
    """Return a split table with the mark in front of each row."""
    marked = split.copy()
    marked.insert(0, "leaky", LEAKY)
    return marked


def is_leaky(split: pd.DataFrame) -> bool:
    """Return whether a table under `schemas.SPLIT` bears the mark."""
    return "leaky" in split.columns


def overlap(split: pd.DataFrame) -> dict[str, Any]:
    """Return how many test patients, and test images, are of patients who train, too.

    Parameters
    ----------
    split : pandas.DataFrame
        `schemas.SPLIT`.

    Raises
    ------
    UserError
        If there are none: what does not leak must not be used to measure leakage.
    """
    test = split[split["subset"] == "test"]
    known = test["patient_key"].isin(split.loc[split["subset"] == "train", "patient_key"])
    if not known.any():
        raise UserError(
            "split.unit",
            expected="patients with images in training and test",
            came="none: too few labelled images of each patient",
            remedy="leave it at patient, since a split by image would measure no leakage here",
        )
    return {
        "test_patients": int(test["patient_key"].nunique()),
        "test_patients_who_train": int(test.loc[known, "patient_key"].nunique()),
        "test_images": len(test),
        "test_images_of_patients_who_train": int(known.sum()),
    }
