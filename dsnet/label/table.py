"""One labelled row per lumbar box on an included image."""

from typing import Any

import pandas as pd

from dsnet.cohort.exam import DxaTable
from dsnet.config import TScoreSource
from dsnet.errors import UserError
from dsnet.label.who import who_class
from dsnet.schemas import BOX, LABELS, LEVELS


def label_boxes(
    images: pd.DataFrame, boxes: pd.DataFrame, dxa: DxaTable, reading: TScoreSource
) -> pd.DataFrame:
    """Return `dsnet.schemas.LABELS`, in the order of path and level: by content, not by key.

    Parameters
    ----------
    images : DataFrame
        The included files: ``file_key``, ``image_key``, ``patient_key``, ``study_key``, and from
        the private map ``relative_path``, ``patient_id`` and ``ct_date``.
    boxes : DataFrame
        As `dsnet.cohort.annotations.collect.used` returns them.
    dxa : DxaTable
    reading : {"patient", "vertebra", "lowest"}

    Raises
    ------
    UserError
        If an included image has no box or no T-score, which a criterion that is switched off would
        have said.
    """
    lumbar = boxes[boxes["level"].isin(LEVELS)]
    rows = images.merge(lumbar, on="file_key", how="left", validate="1:m")
    _refuse(rows, rows["level"].isna(), "box of L1 to L4")
    rows = rows.assign(t_score=_t_scores(rows, dxa, reading))
    _refuse(rows, rows["t_score"].isna(), "T-score")
    rows = rows.assign(
        label=[who_class(t_score) for t_score in rows["t_score"]],
        t_score=[str(t_score) for t_score in rows["t_score"]],
    ).sort_values(["relative_path", "level"], kind="stable", ignore_index=True)
    text = {name: str for name in LABELS.columns if name not in BOX}
    return rows[list(LABELS.columns)].astype(text)


def _t_scores(rows: pd.DataFrame, dxa: DxaTable, reading: TScoreSource) -> "pd.Series[Any]":
    keys = list(zip(rows["patient_id"], rows["ct_date"], rows["level"], strict=True))
    known = {}
    for patient_id, ct_date, level in set(keys):
        exam = dxa.nearest(patient_id, ct_date)
        known[patient_id, ct_date, level] = exam.t_score(level, reading) if exam else None
    return pd.Series([known[key] for key in keys], index=rows.index, dtype=object)


def _refuse(rows: pd.DataFrame, lacking: "pd.Series[bool]", what: str) -> None:
    keys = rows.loc[lacking, "file_key"].drop_duplicates()
    if len(keys):
        raise UserError(
            "ledger.csv",
            expected=f"a {what} for every included image",
            came=f"{len(keys)} without one, {keys.iloc[0]} the first",
            remedy="switch the criterion on again that would exclude it (dsnet criteria)",
        )
