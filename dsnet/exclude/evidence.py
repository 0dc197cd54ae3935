"""Everything that criteria look at, in one table with one row per file."""

import pandas as pd

from dsnet.config.cohort import TScoreSource
from dsnet.match.exams import level_scores
from dsnet.schemas import HISTORIES, LEVELS

_ANSWERS = {"yes": True, "no": False}


def gather(
    index: pd.DataFrame,
    boxes: pd.DataFrame,
    exams: pd.DataFrame,
    patients: pd.DataFrame,
    *,
    t_score: TScoreSource,
) -> pd.DataFrame:
    """Return the index with what the other tables say of each file.

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
    files = _with_exams(files, level_scores(exams, t_score))
    for column in HISTORIES:
        answers = dict(zip(patients["patient_key"], patients[column], strict=True))
        answered = [_ANSWERS.get(answers.get(key, "")) for key in files["patient_key"]]
        files[column] = pd.array(answered, dtype="boolean")
    return files


def _with_boxes(files: pd.DataFrame, boxes: pd.DataFrame) -> pd.DataFrame:
    lumbar = boxes[boxes["level"].isin(LEVELS)].sort_values("level")
    levels = {key: " ".join(own) for key, own in lumbar.groupby("file_key")["level"]}
    annotated = files["file_key"].isin(boxes["file_key"])
    patients = set(files.loc[annotated, "patient_key"]) - {""}
    return files.assign(
        annotated=annotated,
        named=files["file_key"].isin(boxes.loc[boxes["named"], "file_key"]),
        levels=pd.array([levels.get(key, "") for key in files["file_key"]], dtype="str"),
        patient_annotated=annotated | files["patient_key"].isin(patients),
    )


def _with_exams(files: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    keys = ["patient_key", "study_key"]
    own = files[[*keys, "levels"]].merge(scores, on=keys, how="left", validate="m:1")
    has_dxa = own["interval_days"].notna()
    days = [int(text) if text else None for text in own["interval_days"].fillna("")]
    rows = zip(own["levels"], own[list(LEVELS)].fillna("").to_numpy().tolist(), strict=True)
    unscored = pd.Series([_unscored(*row) for row in rows], dtype="str")
    return files.assign(
        has_dxa=has_dxa,
        interval_days=pd.array(days, dtype="Int64"),
        unscored=unscored.where(has_dxa, ""),
    )


def _unscored(levels: str, t_scores: list[str]) -> str:
    """Return the levels of a slice without a T-score; ``L1-L4`` where no level has one."""
    if not any(t_scores):
        return "L1-L4"
    scored = {level for level, score in zip(LEVELS, t_scores, strict=True) if score}
    return " ".join(level for level in levels.split() if level not in scored)
