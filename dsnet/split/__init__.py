"""The split into training, validation and test, its proof; and assigning patients or images.

Patients are the default (docs/interpretations.md#11). Images exist to measure leakage: the paper's
3,844 training images are exactly 0.8 of its 4,805, so it most likely split by image.
"""

import hashlib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.schemas import CLASSES, LEAKY, LEVELS

_IDENTITIES = ("study_key", "image_key", "pixel_hash")
"""Columns of the index by which two patients may turn out to be one."""

_PATIENTS = (
    "patients of each class (split.min_patients_per_class), counting those that share a study or "
    "an image as one"
)
_REMEDY = "label more patients, or correct what excludes them (dsnet audit shows it)"


def describe_patients(boxes: pd.DataFrame, files: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return one row per labelled patient; the order of the rows that come in does not matter.

    Parameters
    ----------
    boxes : pandas.DataFrame
        `schemas.LABELS`.
    files : pandas.DataFrame
        `schemas.INDEX`.
    seed : int
        Shuffles `order`.

    Returns
    -------
    pandas.DataFrame
        Indexed by patient key: `stratum` (the most severe class among the patient's boxes),
        `complete` (all of L1-L4 are labelled), `group` (an arbitrary number, equal for patients
        that must be in one subset) and `order`, 64 hexadecimal digits of SHA-256 over the seed and
        the pixel hashes of the group's labelled images. It follows from content alone, so that
        neither the rows nor the secret key behind the pseudonyms move a patient.

    Raises
    ------
    UserError
        If a labelled file is not in the index, or was never decoded.
    """
    images = _labelled_images(boxes, files)
    patients = pd.DataFrame({"stratum": most_severe(boxes, "patient_key")})
    levels = boxes.groupby("patient_key")["level"].nunique()
    patients["complete"] = levels == len(LEVELS)
    patients["group"] = _groups(patients.index, boxes, files)
    group = images["patient_key"].map(patients["group"])
    order = images["pixel_hash"].groupby(group).agg(lambda hashes: _order(seed, hashes))
    return patients.assign(order=patients["group"].map(order))


def assign_patients(patients: pd.DataFrame, params: Split) -> "pd.Series[str]":
    """Return the subset of each patient.

    Test patients are taken first, from those with all of L1-L4; validation patients are taken from
    the rest. Within a class the patients come in the order of their content hash. Patients that
    must stay together count as one, of their most severe class. Every subset holds at least one of
    each class.

    Parameters
    ----------
    patients : pandas.DataFrame
        As `describe_patients` returns them.
    params : Split

    Raises
    ------
    UserError
        If a class has too few patients, or too few with all levels for its share of the test
        subset.
    """
    severity = patients["stratum"].map(CLASSES.index)
    grouped = patients.assign(severity=severity).groupby("group")
    groups = grouped.agg({"severity": "max", "complete": "all", "order": "first"})
    groups["stratum"] = groups["severity"].map(CLASSES.__getitem__)
    return patients["group"].map(_assign(groups.sort_values("order"), params, _PATIENTS))


def describe_images(boxes: pd.DataFrame, files: pd.DataFrame) -> pd.DataFrame:
    """Return one row per labelled image, as `assign_images` takes them.

    Parameters
    ----------
    boxes, files : pandas.DataFrame
        `schemas.LABELS` and `schemas.INDEX`.

    Raises
    ------
    UserError
        If a labelled file is not in the index, or was never decoded.
    """
    images = _labelled_images(boxes, files).rename(columns={"pixel_hash": "content"})
    return images.assign(stratum=images["image_key"].map(most_severe(boxes, "image_key")))


def assign_images(images: pd.DataFrame, params: Split) -> pd.DataFrame:
    """Return the table `schemas.SPLIT` of a split by image, stratified by class and marked LEAKY.

    Patients are ignored, and a test patient need not have all of L1-L4.

    Parameters
    ----------
    images : pandas.DataFrame
        One row per image: `image_key`, `patient_key`, `stratum` (its most severe class) and
        `content`, which orders the images independently of the secret behind the keys.
    params : Split

    Raises
    ------
    UserError
        If a class has too few images.
    """
    order = [_order(params.seed, [content]) for content in images["content"]]
    units = images.set_index("image_key")[["stratum"]].assign(complete=True, order=order)
    subsets = _assign(units.sort_values("order"), params, "images of each class")
    table = images[["image_key", "patient_key"]].assign(
        subset=images["image_key"].map(subsets), stratum=images["stratum"]
    )
    table.insert(0, "leaky", LEAKY)
    return table.sort_values("image_key", ignore_index=True)


def overlap(split: pd.DataFrame) -> dict[str, Any]:
    """Return how many test patients, and test images, are of patients in training, too.

    Parameters
    ----------
    split : pandas.DataFrame
        `schemas.SPLIT`.

    Raises
    ------
    UserError
        If there are none: a split that does not leak must not be used to measure leakage.
    """
    test = split[split["subset"] == "test"]
    train = split.loc[split["subset"] == "train", "patient_key"]
    shared = test["patient_key"].isin(train)
    if not shared.any():
        raise UserError(
            "split.unit",
            expected="patients with images in training and test",
            came="none: too few labelled images of each patient",
            remedy="leave it at patient, since a split by image would measure no leakage here",
        )
    return {
        "test_patients": int(test["patient_key"].nunique()),
        "test_patients_who_train": int(test.loc[shared, "patient_key"].nunique()),
        "test_images": len(test),
        "test_images_of_patients_who_train": int(shared.sum()),
    }


def most_severe(boxes: pd.DataFrame, key: str) -> "pd.Series[str]":
    """Return the most severe class among the boxes of each value of the column `key`."""
    severity = boxes["label"].map(CLASSES.index).groupby(boxes[key]).max()
    return severity.map(CLASSES.__getitem__)


def apportion(sizes: Mapping[str, int], fraction: float, most: Mapping[str, int]) -> dict[str, int]:
    """Return how many of each class make up `fraction` of all, by largest remainder.

    The total is `fraction` of all, rounded half up, unless the bounds forbid it.

    Parameters
    ----------
    sizes : mapping of str to int
        Patients or images of each class.
    fraction : float
        Taken as the decimal that was written, so that 0.2 of 15 is 3.
    most : mapping of str to int
        The upper bound of each class, at least 1; the lower bound is 1.

    Examples
    --------
    >>> apportion({"normal": 36, "osteopenia": 37}, 0.2, {"normal": 34, "osteopenia": 35})
    {'normal': 7, 'osteopenia': 8}
    """
    share = Fraction(str(fraction))
    total = floor(share * sum(sizes.values()) + Fraction(1, 2))
    counts = dict.fromkeys(sizes, 1)
    while sum(counts.values()) < total:
        # Giving each seat to the class that lacks most yields the largest remainders.
        lacks = {name: share * sizes[name] - n for name, n in counts.items() if n < most[name]}
        if not lacks:
            break
        counts[max(lacks, key=lambda name: lacks[name])] += 1
    return counts


def _labelled_images(boxes: pd.DataFrame, files: pd.DataFrame) -> pd.DataFrame:
    """Return `file_key`, `image_key`, `patient_key` and `pixel_hash` of each labelled file."""
    labelled = boxes[["file_key", "image_key", "patient_key"]].drop_duplicates("file_key")
    hashes = labelled["file_key"].map(files.set_index("file_key")["pixel_hash"]).fillna("")
    missing = labelled.loc[hashes == "", "file_key"]
    if len(missing):
        raise UserError(
            f"labels.csv row {missing.index[0] + 2} ({missing.iloc[0]})",
            expected="a file of index.parquet with decoded pixels",
            came="one that is not there or could not be decoded",
            remedy="run the workflow again, so that both tables come from the same files",
        )
    return labelled.assign(pixel_hash=hashes)


def _order(seed: int, hashes: Iterable[object]) -> str:
    text = "\n".join([str(seed), *sorted(map(str, hashes))])
    return hashlib.sha256(text.encode()).hexdigest()


def _groups(patients: "pd.Index[str]", boxes: pd.DataFrame, files: pd.DataFrame) -> list[int]:
    """Return, for each patient, the number of its connected component of shared identities.

    All original images of the labelled patients count, not only the labelled ones: a copy that was
    excluded as a duplicate still shows that two hospital IDs are one person. Report screens and
    blank images do not count: they may be the same in many patients.
    """
    labelled = files["file_key"].isin(boxes["file_key"])
    original = files["decoded"] & (files["image_kind"] == "original")
    blank = files["hu_min"] == files["hu_max"]
    rows = files[files["patient_key"].isin(patients) & (labelled | (original & ~blank))]
    links = rows.melt("patient_key", list(_IDENTITIES), var_name="kind", value_name="identity")
    links = links[links["identity"] != ""].drop_duplicates()
    # A bipartite graph: patients on one side, identities behind them on the other.
    identities = links.groupby(["kind", "identity"])
    identity = identities.ngroup().to_numpy() + len(patients)
    patient = patients.get_indexer(pd.Index(links["patient_key"]))
    nodes = len(patients) + identities.ngroups
    graph = coo_array((np.ones(len(links)), (patient, identity)), shape=(nodes, nodes))
    _, component = connected_components(graph, directed=False)
    return [int(number) for number in component[: len(patients)]]


def _assign(units: pd.DataFrame, params: Split, what: str) -> "pd.Series[str]":
    """Return the subset of each unit, by the index of `units`.

    Parameters
    ----------
    units : pandas.DataFrame
        In the order in which they are taken: `stratum`, and `complete`, without which a unit is
        not for the test subset.
    params : Split
    what : str
        What there must be enough of, for the error message.
    """
    sizes, complete = _sizes(units), _sizes(units[units["complete"]])
    if min(sizes.values()) < params.min_patients_per_class:
        raise UserError(
            "labels.csv",
            expected=f"at least {params.min_patients_per_class} {what}",
            came=_counted(sizes),
            remedy=_REMEDY,
        )
    # One of each class stays for training, one for validation.
    counts = apportion(sizes, params.test_fraction, {name: n - 2 for name, n in sizes.items()})
    if any(complete[name] < count for name, count in counts.items()):
        raise UserError(
            "labels.csv",
            expected="for the test subset, patients with all of L1-L4 labelled: "
            f"{_counted(counts)}",
            came=_counted(complete),
            remedy=f"{_REMEDY}, or lower split.test_fraction",
        )
    test = _first(units[units["complete"]], counts)
    rest = units.drop(index=test)
    sizes = _sizes(rest)
    counts = apportion(
        sizes, params.validation_fraction, {name: n - 1 for name, n in sizes.items()}
    )
    subsets = pd.Series("train", index=units.index, dtype=str)
    subsets[test] = "test"
    subsets[_first(rest, counts)] = "validation"
    return subsets


def _first(units: pd.DataFrame, counts: Mapping[str, int]) -> "pd.Index[Any]":
    """Return the index of the first `counts` units of each class."""
    rank = units.groupby("stratum").cumcount()
    return units.index[rank < units["stratum"].map(counts)]


def _sizes(units: pd.DataFrame) -> dict[str, int]:
    return {name: int((units["stratum"] == name).sum()) for name in CLASSES}


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
