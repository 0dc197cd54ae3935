"""What the parts share, counted from the finished split; it knows nothing of how it was drawn."""

from itertools import combinations
from typing import Any

import pandas as pd

from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.schemas import CLASSES, SUBSETS
from dsnet.split import leak

_KINDS = {
    "patient": "patient_key",
    "study": "study_key",
    "sop_uid": "image_key",
    "pixel_hash": "pixel_hash",
}

_NO_PROOF = (
    "Split by image: patients who train are in the test part, too. It exists to measure leakage; "
    "figures made with it say nothing about new patients."
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
        `distinct`: how many patients, studies, SOP instance UIDs and pixel hashes each part holds;
        `shared`: how many of each two parts have in common, all 0 in a sound split, while a split
        by image says LEAKY first and counts in `leak` what its test part gives away; `classes`:
        patients and images (by their most severe box) and boxes of each class; `fraction` of
        each; and the seed and the fractions asked for (null where the split was imported).
    """
    identities = _identities(split, files)
    classes = {part: _classes(boxes, split[split["subset"] == part]) for part in SUBSETS}
    drawn = params.file is None
    leaky = {"LEAKY": _NO_PROOF, "leak": leak.overlap(split)} if leak.is_leaky(split) else {}
    return {
        **leaky,
        "source": "drawn" if drawn else "imported",
        "unit": params.unit,
        "seed": params.seed if drawn else None,
        "requested": {
            "test_of_all": params.test_fraction if drawn else None,
            "validation_of_rest": params.validation_fraction if drawn else None,
        },
        "distinct": {
            kind: {part: len(values[part]) for part in SUBSETS}
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
    """Raise `UserError` if two parts share anything, unless they were meant to (`split.unit`)."""
    if "LEAKY" in proof:
        return
    for kind, pairs in proof["shared"].items():
        for pair, count in pairs.items():
            if count:
                raise UserError(
                    f"split ({pair.replace('-', ' and ')})",
                    expected=f"no {kind} in both parts",
                    came=f"{count}",
                    remedy="give all patients that share one the same part in split.file",
                )


def _identities(split: pd.DataFrame, files: pd.DataFrame) -> dict[str, dict[str, set[str]]]:
    """Return the set of identities of each kind in each part; unknown ones are left out."""
    known = files[["image_key", "patient_key", "study_key", "pixel_hash"]]
    rows = split.merge(known, on=["image_key", "patient_key"], how="left")
    return {
        kind: {
            part: set(rows.loc[rows["subset"] == part, column].dropna()) - {""} for part in SUBSETS
        }
        for kind, column in _KINDS.items()
    }


def _classes(boxes: pd.DataFrame, part: pd.DataFrame) -> dict[str, dict[str, int]]:
    inside = boxes[boxes["image_key"].isin(part["image_key"])]
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
    """Return each part's share of all patients, images and boxes, to four decimals."""
    counts = {
        unit: {part: sum(each[unit] for each in classes[part].values()) for part in SUBSETS}
        for unit in ("patients", "images", "boxes")
    }
    return {
        unit: {part: round(count / sum(by_part.values()), 4) for part, count in by_part.items()}
        for unit, by_part in counts.items()
    }
