"""The data of one trial of the leakage experiment: ``python -m dsnet.leakage``.

What a split by image adds to the figures, and what shuffled labels give, is measured. A trial is
the same slices, under another split or under other training labels. It keeps boxes, split and
digest in a folder of its own and takes the slice store as it is, so that every step runs on it as
on the cohort. Everything that comes from a split by image lies below a folder called LEAKY.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from dsnet import schemas
from dsnet.config.cohort import Split
from dsnet.config.evaluate import Leakage
from dsnet.errors import UserError
from dsnet.evaluate.grading import level_profiles
from dsnet.files import read_json, sha256, write_json
from dsnet.schemas import CLASSES, LEVELS, SLICES, SPLIT, is_leaky
from dsnet.split import assign_images, most_severe, overlap
from dsnet.step import run

TRIALS = ("LEAKY/true", "patient/shuffled")
"""Which split, and which training labels."""


def prepare(
    *,
    params: Leakage,
    splitting: Split,
    trial: str,
    boxes: Path,
    split: Path,
    digest: Path,
    trial_boxes: Path,
    trial_split: Path,
    trial_digest: Path,
) -> None:
    """Write the boxes, the split and the digest of one trial.

    Parameters
    ----------
    params : Leakage
    splitting : Split
        Fractions and seed, for a split by image.
    trial : str
        One of `TRIALS`: ``LEAKY/true`` splits by image; ``patient/shuffled`` shuffles, among
        the patients of each subset, the labels of training and validation. Test labels stay.
    boxes, split, digest : Path
        `schemas.SLICES`, `schemas.SPLIT` and ``slices.json`` of the cohort.
    trial_boxes, trial_split, trial_digest : Path
        Written: the same of the trial.

    Raises
    ------
    UserError
        If the cohort's own split leaks, a split by image would not, or the trial is unknown.
    """
    rows, images = schemas.read(SLICES, boxes), schemas.read(SPLIT, split)
    if is_leaky(images):
        raise UserError(
            split.name,
            expected="a split by patient to set a split by image against",
            came="a split by image",
            remedy="set split.unit to patient; leakage.csv makes the other one itself",
        )
    facts = read_json(digest)
    if trial == "LEAKY/true":
        images = split_by_image(rows, splitting)
    elif trial == "patient/shuffled":
        subset = rows["image_key"].map(images.set_index("image_key")["subset"])
        rng = np.random.default_rng([params.seed, 2])
        rows = rows.assign(label=shuffled_within(rows, subset, rng))
        facts["cohort"] = f"{facts['cohort']}, training labels shuffled"
    else:
        raise UserError(
            "--trial", expected=f"one of {', '.join(TRIALS)}", came="another", remedy="name one"
        )
    schemas.write(SLICES, rows, trial_boxes)
    schemas.write(SPLIT, images, trial_split)
    facts["boxes_sha256"], facts["split_sha256"] = sha256(trial_boxes), sha256(trial_split)
    write_json(trial_digest, facts)


def split_by_image(boxes: pd.DataFrame, params: Split) -> pd.DataFrame:
    """Return the table `schemas.SPLIT` of the same cohort split by image, marked LEAKY.

    The store's rows follow the content of the images, and so does the assignment.
    """
    images = boxes.drop_duplicates("image_key")
    stratum = images["image_key"].map(most_severe(boxes, "image_key"))
    units = images[["image_key", "patient_key"]].assign(stratum=stratum, content=images["row"])
    split = assign_images(units, params)
    overlap(split)  # raises where nothing would leak
    return split


def shuffled(rows: pd.DataFrame, rng: np.random.Generator) -> "pd.Series[str]":
    """Return the labels, shuffled among the patients: each takes another's profile of levels.

    A box takes the class that the other patient has at its level or, where that patient has no box
    at this level, at the nearest level (of two, the upper). So as many patients as before have each
    profile, and a patient's slices still agree.

    Parameters
    ----------
    rows : DataFrame
        `patient_key`, `level` and `label` of each box. Patients are numbered in the order of their
        first row, so that rows in the order of the slice store make the shuffle the same for any
        key.
    rng : Generator

    Returns
    -------
    Series of str
        By the index of `rows`.
    """
    patient, keys = pd.factorize(rows["patient_key"])
    level, label = (
        rows[column].map(names.index).to_numpy()
        for column, names in (("level", LEVELS), ("label", CLASSES))
    )
    profiles = level_profiles(patient, level, label, len(keys))
    labels = profiles[rng.permutation(len(keys))][patient, level]
    return pd.Series([CLASSES[label] for label in labels], index=rows.index, dtype=str)


def shuffled_within(
    rows: pd.DataFrame, subset: "pd.Series[str]", rng: np.random.Generator
) -> "pd.Series[str]":
    """Return the labels, those of training and of validation shuffled among its own patients."""
    labels = rows["label"].copy()
    for name in ("train", "validation"):
        members = subset == name
        labels[members] = shuffled(rows[members], rng)
    return labels


if __name__ == "__main__":
    run(prepare)
