"""Parting images instead of patients: what the paper almost surely did, kept to measure it."""

import hashlib

import pandas as pd

from dsnet.config.cohort import Split
from dsnet.schemas import CLASSES
from dsnet.split.draw import deal
from dsnet.split.leak import stamp
from dsnet.split.patients import labelled_images


def images_of(boxes: pd.DataFrame, files: pd.DataFrame) -> pd.DataFrame:
    """Return one row per labelled image, as `draw_images` wants them.

    Parameters
    ----------
    boxes, files : pandas.DataFrame
        `schemas.LABELS` and `schemas.INDEX`.

    Raises
    ------
    UserError
        If a labelled file is not in the index, or was never decoded.
    """
    images = labelled_images(boxes, files).rename(columns={"pixel_hash": "content"})
    keys = boxes.drop_duplicates("file_key").set_index("file_key")["image_key"]
    images["image_key"] = images["file_key"].map(keys)
    return images.assign(stratum=images["image_key"].map(most_severe(boxes)))


def most_severe(boxes: pd.DataFrame) -> "pd.Series[str]":
    """Return the most severe class among each image's boxes, by image key."""
    severity = boxes["label"].map(CLASSES.index).groupby(boxes["image_key"]).max()
    return severity.map(CLASSES.__getitem__)


def draw_images(images: pd.DataFrame, params: Split) -> pd.DataFrame:
    """Return the table `schemas.SPLIT` of a split by image, stratified by class and marked LEAKY.

    Patients count for nothing here, and a test patient need not have all of L1-L4.

    Parameters
    ----------
    images : pandas.DataFrame
        One row per image: `image_key`, `patient_key`, `stratum` (its most severe class) and
        `content`, which orders the images whatever the secret behind the keys.
    params : Split
    """
    order = [_order(content, params.seed) for content in images["content"]]
    units = images.set_index("image_key")[["stratum"]].assign(complete=True, order=order)
    parts = deal(units.sort_values("order"), params, "images of each class")
    table = images[["image_key", "patient_key"]].assign(
        subset=images["image_key"].map(parts), stratum=images["stratum"]
    )
    return stamp(table.sort_values("image_key", ignore_index=True))


def _order(content: object, seed: int) -> str:
    return hashlib.sha256(f"{seed}\n{content}".encode()).hexdigest()
