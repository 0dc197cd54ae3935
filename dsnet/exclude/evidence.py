"""Everything that criteria look at, in one table with one row per file."""

import numpy as np
import pandas as pd

from dsnet.config.cohort import TScoreSource
from dsnet.match.exams import level_scores
from dsnet.schemas import HISTORIES, LEVELS


def gather(
    index: pd.DataFrame,
    boxes: pd.DataFrame,
    exams: pd.DataFrame,
    patients: pd.DataFrame,
    *,
    t_score: TScoreSource,
) -> pd.DataFrame:
    """Return the index with all that the other tables say of each file.

    Parameters
    ----------
    index : DataFrame
        `dsnet.schemas.INDEX`.
    boxes : DataFrame
        As `dsnet.cohort.annotations.collect.used` returns them.
    exams, patients : DataFrame
        `dsnet.schemas.EXAMS` and `dsnet.schemas.PATIENTS`.
    t_score : {"patient", "vertebra", "lowest"}
        Which T-score labels a vertebra.

    Returns
    -------
    DataFrame
        In the order of the index, numbered from 0. Beside the index's own columns: from the
        annotations ``annotated``, ``named``, ``patient_annotated`` (bool) and ``levels`` (str,
        those of L1 to L4, separated by a blank); from the exams ``has_dxa`` (bool),
        ``interval_days`` (Int64, missing when a date is) and ``unscored`` (str, levels without a
        T-score); and each history (nullable bool).
    """
    files = _with_boxes(index.reset_index(drop=True), boxes)
    files = _with_exams(files, level_scores(exams, t_score), t_score)
    answers = patients.set_index("patient_key")[list(HISTORIES)]
    known = answers.reindex(files["patient_key"]).replace({"yes": True, "no": False, "": None})
    for column in HISTORIES:
        files[column] = pd.array(known[column].to_numpy(object), dtype="boolean")
    return files


def _with_boxes(files: pd.DataFrame, boxes: pd.DataFrame) -> pd.DataFrame:
    lumbar = boxes[boxes["level"].isin(LEVELS)].sort_values("level")
    levels = lumbar.groupby("file_key")["level"].agg(" ".join)
    annotated = files["file_key"].isin(boxes["file_key"])
    patients = set(files.loc[annotated, "patient_key"]) - {""}
    return files.assign(
        annotated=annotated,
        named=files["file_key"].isin(boxes.loc[boxes["named"], "file_key"]),
        levels=files["file_key"].map(levels).fillna("").astype(str),
        patient_annotated=annotated | files["patient_key"].isin(patients),
    )


def _with_exams(files: pd.DataFrame, scores: pd.DataFrame, t_score: TScoreSource) -> pd.DataFrame:
    own = files.merge(scores, on=["patient_key", "study_key"], how="left", validate="m:1")
    has_dxa = own["interval_days"].notna() & (files["study_key"] != "")
    days = own["interval_days"].where(has_dxa, "").replace("", None)
    return files.assign(
        has_dxa=has_dxa,
        interval_days=pd.to_numeric(days).astype("Int64"),
        unscored=pd.Series(_unscored(own, t_score), dtype=str).where(has_dxa, ""),
    )


def _unscored(files: pd.DataFrame, t_score: TScoreSource) -> list[str]:
    """Return the levels without a T-score, of each file; ``L1-L4`` where no level has one."""
    known = files[list(LEVELS)].fillna("").to_numpy() != ""
    nowhere = np.flatnonzero(~known.any(axis=1))
    if t_score == "vertebra":
        missing = [
            " ".join(
                level
                for level, there in zip(LEVELS, row, strict=True)
                if not there and level in own
            )
            for row, own in zip(known, files["levels"].str.split(" "), strict=True)
        ]
    else:
        missing = [""] * len(files)
    for number in nowhere:
        missing[number] = "L1-L4"
    return missing
