"""Criteria on what a slice shows: section 3.1, item 2, and the last words of section 3.1."""

import numpy as np
import pandas as pd

from dsnet.exclude.criterion import Case, Criterion, Finding, Mask, finding

_REGION = "section 3.1, item 2"


def no_annotation(case: Case) -> Finding:
    """Hold where nothing at all is annotated on any image of the patient."""
    files = case.files
    bare = files["readable"] & ~files["patient_annotated"]
    return finding(files, [(bare, "no box on any image of the patient")])


def not_lumbar(case: Case) -> Finding:
    """Hold where no vertebral body of L1 to L4 is annotated on the slice."""
    files = case.files
    elsewhere = files["readable"] & (files["levels"] == "")
    return finding(
        files,
        [
            (elsewhere & files["annotated"], "only other levels annotated"),
            (elsewhere & ~files["annotated"], "no box on the slice"),
        ],
    )


def incomplete_levels(case: Case) -> Finding:
    """Hold where too few of L1 to L4 are annotated, or left on the remaining slices.

    docs/interpretations.md#19

    Too few annotated at all is a fault of the patient. What is left is counted last, after every
    other criterion, and is said of the slices that are left: a patient of whom none is left has
    lost them to those criteria.
    """
    files = case.files
    minimum = case.params.criteria.incomplete_levels.min_levels
    everywhere = np.ones(len(files), dtype=bool)
    shown = pd.DataFrame(
        {
            "n_annotated": _count_levels(files, everywhere),
            "n_left": _count_levels(files, case.standing),
        }
    )
    short = files["readable"] & files["patient_annotated"] & (shown["n_annotated"] < minimum)
    left = case.standing & ~short & (shown["n_left"] < minimum)
    return finding(
        shown,
        [(short, "{n_annotated} of L1 to L4 annotated"), (left, "{n_left} of L1 to L4 left")],
    )


def _count_levels(files: pd.DataFrame, where: Mask) -> "pd.Series[int]":
    """Return, for each file, how many of L1 to L4 its patient shows on the files at `where`."""
    some = files.loc[where, ["patient_key", "levels"]].drop_duplicates()
    levels = some.assign(level=some["levels"].str.split(" ")).explode("level")
    counts = levels[levels["level"] != ""].groupby("patient_key")["level"].nunique()
    return files["patient_key"].map(counts).fillna(0).astype(int)


ANNOTATION_CRITERIA = (
    Criterion(
        "no_annotation",
        "E12",
        "patient",
        "No vertebra of the patient was annotated.",
        _REGION,
        no_annotation,
        final=True,
    ),
    Criterion(
        "not_lumbar",
        "E13",
        "file",
        "The slice shows no annotated body of L1 to L4.",
        _REGION,
        not_lumbar,
        final=True,
    ),
)

LEVEL_CRITERIA = (
    Criterion(
        "incomplete_levels",
        "E22",
        "patient",
        "Too few of the levels L1 to L4 are annotated or left.",
        "section 3.1 (any of L1-L4 for training), interpretation 19",
        incomplete_levels,
        lambda p: f"levels >= {p.criteria.incomplete_levels.min_levels}",
    ),
)
