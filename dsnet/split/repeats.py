"""Other splits of the same patients, and fewer training patients.

``python -m dsnet.split.repeats``. Each variation is a split and a digest in a folder of its own;
slices and boxes are the cohort's, so that a training runs on it as on the cohort.
"""

import re
from pathlib import Path

import pandas as pd

from dsnet import schemas
from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.files import read_json, sha256, write_json
from dsnet.schemas import SPLIT, is_leaky
from dsnet.split import assign_patients, describe_patients
from dsnet.split.step import split_table
from dsnet.step import run

_NAME = re.compile(r"(split|share)(\d+)")


def vary(
    *,
    params: Split,
    variation: str,
    labels: Path,
    index: Path,
    split: Path,
    digest: Path,
    varied_split: Path,
    varied_digest: Path,
) -> None:
    """Write split and digest of one variation.

    Parameters
    ----------
    params : Split
        Fractions and seed.
    variation : str
        ``split3``: the split with a seed greater by three. ``share25``: 25 % of the training
        patients of each class (at least one), test and validation as they are; a larger share holds
        all patients of a smaller one.
    labels, index : Path
        `schemas.LABELS` and `schemas.INDEX`.
    split, digest : Path
        `schemas.SPLIT` and ``slices.json`` of the cohort.
    varied_split, varied_digest : Path
        Written: the same of the variation.

    Raises
    ------
    UserError
        If the cohort's split is by image, or the variation is unknown.
    """
    boxes, files = schemas.read(schemas.LABELS, labels), schemas.read(schemas.INDEX, index)
    images = schemas.read(SPLIT, split)
    named = _NAME.fullmatch(variation)
    if is_leaky(images) or not named:
        raise UserError(
            "split.repeats",
            expected="a split by patient, and a variation such as split1 or share50",
            came="a split by image" if named else "another variation",
            remedy="set split.unit to patient" if named else "name one of these",
        )
    kind, number = named[1], int(named[2])
    if kind == "split":
        other = params.model_copy(update={"seed": params.seed + number})
        patients = describe_patients(boxes, files, other.seed)
        varied = split_table(boxes, patients, assign_patients(patients, other))
    else:
        patients = describe_patients(boxes, files, params.seed)
        varied = fewer_training_patients(images, patients["order"], number / 100)
    schemas.write(SPLIT, varied, varied_split)
    write_json(varied_digest, {**read_json(digest), "split_sha256": sha256(varied_split)})


def fewer_training_patients(
    split: pd.DataFrame, order: "pd.Series[str]", share: float
) -> pd.DataFrame:
    """Return the split without some training patients, whose images are in no subset then.

    Parameters
    ----------
    split : DataFrame
        `schemas.SPLIT`.
    order : Series of str
        By patient key, as `dsnet.split.describe_patients` returns it: the first ones stay.
    share : float
        Of the training patients of each class.
    """
    training = split[split["subset"] == "train"].drop_duplicates("patient_key")
    training = training.assign(order=training["patient_key"].map(order)).sort_values("order")
    by_class = training.groupby("stratum")["patient_key"]
    kept = (by_class.transform("size") * share).round().clip(lower=1)
    dropped = training.loc[by_class.cumcount() >= kept, "patient_key"]
    return split[~split["patient_key"].isin(dropped)].reset_index(drop=True)


if __name__ == "__main__":
    run(vary)
