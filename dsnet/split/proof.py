"""What the subsets share, counted from the finished split without knowing how it was made."""

from itertools import combinations
from typing import Any

import pandas as pd

from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.schemas import CLASSES, LEAKY, SUBSETS, is_leaky

_KINDS = {
    "patient": "patient_key",
    "study": "study_key",
    "sop_uid": "image_key",
    "pixel_hash": "pixel_hash",
}

_NO_PROOF = (
    "Split by image: patients of the training subset are in the test subset, too. It exists to "
    "measure leakage; figures made with it say nothing about new patients."
)


def prove(
    split: pd.DataFrame, boxes: pd.DataFrame, files: pd.DataFrame, params: Split
) -> dict[str, Any]:
    """Return the content of split_proof.json.

    Parameters
    ----------
    split, boxes, files : pandas.DataFrame
        `schemas.SPLIT`, `schemas.LABELS`, `schemas.INDEX`.
    params : Split

    Returns
    -------
    dict
        `distinct`: how many patients, studies, SOP instance UIDs and pixel hashes each subset
        holds; `shared`: how many of each two subsets have in common, all 0 in a sound split, while
        a split by image says LEAKY first and counts in `leak` what its test subset gives away;
        `classes`: patients and images (by their most severe box) and boxes of each class;
        `fraction` of each; and the seed and the fractions asked for (null where the split was
        imported).
    """
    identities = _identities(split, files)
    classes = {subset: _classes(boxes, split[split["subset"] == subset]) for subset in SUBSETS}
    generated = params.file is None
    leaky = {LEAKY: _NO_PROOF, "leak": overlap(split)} if is_leaky(split) else {}
    return {
        **leaky,
        "source": "generated" if generated else "imported",
        "unit": params.unit,
        "seed": params.seed if generated else None,
        "requested": {
            "test_of_all": params.test_fraction if generated else None,
            "validation_of_rest": params.validation_fraction if generated else None,
        },
        "distinct": {
            kind: {subset: len(values[subset]) for subset in SUBSETS}
            for kind, values in identities.items()
        },
        "shared": {
            kind: {f"{a}-{b}": len(values[a] & values[b]) for a, b in combinations(SUBSETS, 2)}
            for kind, values in identities.items()
        },
        "classes": classes,
        "fraction": _fractions(classes),
    }


def check(proof: dict[str, Any]) -> None:
    """Raise `UserError` if two subsets share anything, unless they may (`split.unit`: image)."""
    if LEAKY in proof:
        return
    for kind, pairs in proof["shared"].items():
        for pair, count in pairs.items():
            if count:
                raise UserError(
                    f"split ({pair.replace('-', ' and ')})",
                    expected=f"no {kind} in both subsets",
                    came=f"{count}",
                    remedy="give all patients that share one the same subset in split.file",
                )


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


def _identities(split: pd.DataFrame, files: pd.DataFrame) -> dict[str, dict[str, set[str]]]:
    """Return the set of identities of each kind in each subset; blank ones are left out."""
    identities = files[["image_key", "patient_key", "study_key", "pixel_hash"]]
    rows = split.merge(identities, on=["image_key", "patient_key"], how="left")
    return {
        kind: {
            subset: set(rows.loc[rows["subset"] == subset, column].dropna()) - {""}
            for subset in SUBSETS
        }
        for kind, column in _KINDS.items()
    }


def _classes(boxes: pd.DataFrame, images: pd.DataFrame) -> dict[str, dict[str, int]]:
    inside = boxes[boxes["image_key"].isin(images["image_key"])]
    severity = inside["label"].map(CLASSES.index)
    counted = {
        "patients": severity.groupby(inside["patient_key"]).max(),
        "images": severity.groupby(inside["image_key"]).max(),
        "boxes": severity,
    }
    return {
        name: {unit: int((values == rank).sum()) for unit, values in counted.items()}
        for rank, name in enumerate(CLASSES)
    }


def _fractions(classes: dict[str, dict[str, dict[str, int]]]) -> dict[str, dict[str, float]]:
    """Return each subset's share of all patients, images and boxes, to four decimals."""
    counts = {
        unit: {name: sum(each[unit] for each in classes[name].values()) for name in SUBSETS}
        for unit in ("patients", "images", "boxes")
    }
    return {
        unit: {name: round(count / sum(by_subset.values()), 4) for name, count in by_subset.items()}
        for unit, by_subset in counts.items()
    }
