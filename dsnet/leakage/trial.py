"""The data of one trial: the same slices, under another split or under other training labels.

A trial keeps boxes, split and digest in a folder of its own and takes the slice store as it is, so
that every step runs on it as on the cohort. Whatever comes from a split by image lies below a
folder called LEAKY.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from dsnet import schemas
from dsnet.config.cohort import Split
from dsnet.config.evaluate import Leakage
from dsnet.errors import UserError
from dsnet.files import sha256, write_json
from dsnet.leakage.shuffle import shuffled
from dsnet.schemas import SLICES, SPLIT
from dsnet.split.images import draw_images, most_severe
from dsnet.split.leak import is_leaky, overlap

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
        One of `TRIALS`: ``LEAKY/true`` splits by image; ``patient/shuffled`` draws by lot, among
        the patients of each part, the labels of training and validation. Test labels stay.
    boxes, split, digest : Path
        `schemas.SLICES`, `schemas.SPLIT` and ``slices.json`` of the cohort.
    trial_boxes, trial_split, trial_digest : Path
        Written: the same of the trial.

    Raises
    ------
    UserError
        If the cohort's own split leaks, a split by image would not, or the trial is unknown.
    """
    drawn, parts = schemas.read(SLICES, boxes), schemas.read(SPLIT, split)
    if is_leaky(parts):
        raise UserError(
            split.name,
            expected="a split by patient to set a split by image against",
            came="a split by image",
            remedy="set split.unit to patient; leakage.csv makes the other one itself",
        )
    facts = json.loads(digest.read_text(encoding="utf-8"))
    if trial == "LEAKY/true":
        parts = split_by_image(drawn, splitting)
    elif trial == "patient/shuffled":
        drawn = with_training_shuffled(drawn, parts, params.seed)
        facts["cohort"] = f"{facts['cohort']}, training labels shuffled"
    else:
        raise UserError(
            "--trial", expected=f"one of {', '.join(TRIALS)}", came="another", remedy="name one"
        )
    schemas.write(SLICES, drawn, trial_boxes)
    schemas.write(SPLIT, parts, trial_split)
    facts["boxes_sha256"], facts["split_sha256"] = sha256(trial_boxes), sha256(trial_split)
    write_json(trial_digest, facts)


def split_by_image(drawn: pd.DataFrame, params: Split) -> pd.DataFrame:
    """Return the table `schemas.SPLIT` of the same cohort split by image, marked LEAKY.

    The store's rows follow the content of the images, and so does the draw.
    """
    images = drawn.drop_duplicates("image_key")
    stratum = images["image_key"].map(most_severe(drawn))
    units = images[["image_key", "patient_key"]].assign(stratum=stratum, content=images["row"])
    parts = draw_images(units, params)
    overlap(parts)  # raises where nothing would leak
    return parts


def with_training_shuffled(drawn: pd.DataFrame, parts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the boxes with the labels of training and validation drawn by lot within each."""
    rng = np.random.default_rng([seed, 2])
    part = drawn["image_key"].map(parts.set_index("image_key")["subset"])
    labels = drawn["label"].copy()
    for name in ("train", "validation"):
        mine = part == name
        labels[mine] = shuffled(drawn[mine], rng)
    return drawn.assign(label=labels)
