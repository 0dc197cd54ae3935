"""The label step: one WHO class per box on an included image (docs/interpretations.md#17)."""

from decimal import Decimal
from pathlib import Path
from typing import Final

import pandas as pd

from dsnet import schemas
from dsnet.cohort.annotations.collect import used
from dsnet.cohort.exams import level_scores
from dsnet.config.cohort import Label, TScoreSource
from dsnet.errors import UserError
from dsnet.schemas import BOX, LABELS, LEVELS
from dsnet.step import run

OSTEOPOROSIS_AT_MOST: Final = Decimal("-2.5")
NORMAL_AT_LEAST: Final = Decimal("-1.0")


def label(*, label: Label, boxes: Path, exams: Path, ledger: Path, labels: Path) -> None:
    """Label the boxes of every included image.

    Parameters
    ----------
    label : Label
    boxes, exams, ledger : Path
        `schemas.ANNOTATIONS`, `schemas.EXAMS` and `schemas.LEDGER`.
    labels : Path
        Written: `schemas.LABELS`.

    Raises
    ------
    UserError
        If no image is included, or one has no label.
    """
    labelled = label_boxes(
        included_files(schemas.read(schemas.LEDGER, ledger)),
        used(schemas.read(schemas.ANNOTATIONS, boxes)),
        schemas.read(schemas.EXAMS, exams),
        label.t_score,
    )
    schemas.write(LABELS, labelled, labels)


def label_boxes(
    images: pd.DataFrame, boxes: pd.DataFrame, exams: pd.DataFrame, t_score: TScoreSource
) -> pd.DataFrame:
    """Return `schemas.LABELS`, in the order of the images and then of level.

    Parameters
    ----------
    images : DataFrame
        The rows of the included files in `schemas.LEDGER`.
    boxes : DataFrame
        As `dsnet.cohort.annotations.collect.used` returns them.
    exams : DataFrame
        `schemas.EXAMS`.
    t_score : {"patient", "vertebra", "lowest"}

    Raises
    ------
    UserError
        If an included image has no box or no T-score, which a criterion that is switched off would
        have excluded.
    """
    scores = level_scores(exams, t_score).melt(
        ["patient_key", "study_key"], list(LEVELS), var_name="level", value_name="t_score"
    )
    lumbar = boxes[boxes["level"].isin(LEVELS)].sort_values("level", kind="stable")
    rows = images.merge(lumbar, on="file_key", how="left", validate="1:m")
    _refuse(rows, rows["level"].isna(), "box of L1 to L4")
    rows = rows.merge(scores, on=["patient_key", "study_key", "level"], how="left", validate="m:1")
    _refuse(rows, rows["t_score"].fillna("") == "", "T-score")
    rows = rows.assign(label=[who_class(Decimal(score)) for score in rows["t_score"]])
    text = {name: str for name in LABELS.columns if name not in BOX}
    return rows[list(LABELS.columns)].astype(text)


def who_class(t_score: Decimal) -> str:
    """Return the class of a T-score, compared as a decimal (docs/interpretations.md#18).

    Returns
    -------
    {"normal", "osteopenia", "osteoporosis"}
        ``normal`` from -1.0 upwards, ``osteoporosis`` from -2.5 downwards, ``osteopenia`` between
        (section 3.1, after WHO Technical Report 843, 1994).

    Examples
    --------
    >>> who_class(Decimal("-2.50")), who_class(Decimal("-2.49")), who_class(Decimal("-1.00"))
    ('osteoporosis', 'osteopenia', 'normal')
    """
    if t_score >= NORMAL_AT_LEAST:
        return "normal"
    return "osteoporosis" if t_score <= OSTEOPOROSIS_AT_MOST else "osteopenia"


def included_files(ledger: pd.DataFrame) -> pd.DataFrame:
    """Return keys of the included files of `schemas.LEDGER`; raise UserError if there is none."""
    included = ledger[ledger["status"] == "included"]
    if included.empty:
        counts = ledger["criterion"].value_counts()
        reasons = ", ".join(f"{slug} {number}" for slug, number in counts.items())
        raise UserError(
            "ledger.csv",
            expected="at least one included image",
            came=f"none of {len(ledger)} files ({reasons})" if len(ledger) else "no file at all",
            remedy="mend the cohort's tables, or relax a criterion in the config; after a run, "
            "dsnet audit shows the reason of each file",
        )
    return included[["file_key", "image_key", "patient_key", "study_key"]]


def _refuse(rows: pd.DataFrame, lacking: "pd.Series[bool]", what: str) -> None:
    keys = rows.loc[lacking, "file_key"].drop_duplicates()
    if len(keys):
        raise UserError(
            "ledger.csv",
            expected=f"a {what} for every included image",
            came=f"{len(keys)} without one, {keys.iloc[0]} the first",
            remedy="switch the criterion on again that would exclude it (dsnet criteria)",
        )


if __name__ == "__main__":
    run(label)
