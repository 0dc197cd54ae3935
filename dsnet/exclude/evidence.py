"""Everything that criteria look at, in one table with one row per file."""

from collections.abc import Mapping
from datetime import date

import pandas as pd

from dsnet.cohort.clinical import HISTORIES, History
from dsnet.cohort.exam import DxaTable, interval_days
from dsnet.config import TScoreSource
from dsnet.errors import UserError
from dsnet.schemas import LEVELS

_IDENTITIES = [
    "file_key",
    "relative_path",
    "patient_id",
    "series_instance_uid",
    "sop_instance_uid",
    "ct_date",
]


def gather(
    index: pd.DataFrame,
    identities: pd.DataFrame,
    boxes: pd.DataFrame,
    dxa: DxaTable,
    histories: Mapping[str, History],
    *,
    reading: TScoreSource,
) -> pd.DataFrame:
    """Return the index with all that the other tables say of each file.

    Parameters
    ----------
    index, identities : DataFrame
        `dsnet.schemas.INDEX` and its private `dsnet.schemas.MAP`.
    boxes : DataFrame
        As `dsnet.cohort.annotations.collect.used` returns them.
    dxa : DxaTable
    histories : mapping of str to History
        By patient ID.
    reading : {"patient", "vertebra", "lowest"}
        Which T-score labels a vertebra.

    Returns
    -------
    DataFrame
        In the order of the index, numbered from 0. Beside the index's own columns: from the map
        ``relative_path``, ``patient_id``, ``series_instance_uid``, ``sop_instance_uid`` and
        ``ct_date`` (str); from the annotations ``annotated``, ``named``, ``patient_annotated``
        (bool) and ``levels`` (str, those of L1 to L4, parted by a blank); from the DXA table
        ``has_dxa`` (bool), ``interval_days`` (Int64, missing when a date is) and ``unscored`` (str,
        levels without a T-score); and each history (nullable bool). Private: it holds identities.

    Raises
    ------
    UserError
        If map and index are not of one ingestion, or no patient of the DXA table has a CT.
    """
    _check_match(dxa, identities)
    files = index.merge(identities[_IDENTITIES], on="file_key", how="left", validate="1:1")
    if len(identities) != len(index) or files["relative_path"].isna().any():
        raise UserError(
            "index.parquet",
            expected="the files that the private map knows",
            came=f"{len(index)} files beside {len(identities)} in the map",
            remedy="run the ingestion again",
        )
    files = _with_boxes(files, boxes)
    files = _with_dxa(files, dxa, reading)
    for column in HISTORIES:
        answers = {patient: history[column] for patient, history in histories.items()}
        files[column] = pd.array([answers.get(p) for p in files["patient_id"]], dtype="boolean")
    return files


def _check_match(dxa: DxaTable, identities: pd.DataFrame) -> None:
    scanned = set(identities["patient_id"]) - {""}
    if dxa.exams and scanned and not scanned & set(dxa.exams):
        raise UserError(
            "DXA table",
            expected="a patient_id that some CT header gives, leading zeros and all",
            came=f"{len(dxa.exams)} patients, none of them among the {len(scanned)} of the CT",
            remedy="correct the column patient_id, or bring the table of these images; "
            "id_match.csv in the private folder lists what comes near",
        )


def _with_boxes(files: pd.DataFrame, boxes: pd.DataFrame) -> pd.DataFrame:
    lumbar = boxes[boxes["level"].isin(LEVELS)].sort_values("level")
    levels: dict[str, str] = {}
    for file_key, level in zip(lumbar["file_key"], lumbar["level"], strict=True):
        levels[file_key] = f"{levels[file_key]} {level}" if file_key in levels else level
    annotated = files["file_key"].isin(boxes["file_key"])
    patients = set(files.loc[annotated, "patient_key"]) - {""}
    return files.assign(
        annotated=annotated,
        named=files["file_key"].isin(boxes.loc[boxes["named"], "file_key"]),
        levels=pd.array([levels.get(file_key, "") for file_key in files["file_key"]], dtype="str"),
        patient_annotated=annotated | files["patient_key"].isin(patients),
    )


def _with_dxa(files: pd.DataFrame, dxa: DxaTable, reading: TScoreSource) -> pd.DataFrame:
    keys = list(zip(files["patient_id"], files["ct_date"], files["levels"], strict=True))
    # One look-up per distinct patient, day and level instead of one per file.
    known = {key: _exam_facts(dxa, *key, reading) for key in set(keys)}
    has_dxa, days, unscored = zip(*(known[key] for key in keys), strict=True) if keys else ((),) * 3
    return files.assign(
        has_dxa=pd.array(has_dxa, dtype="boolean").astype(bool),
        interval_days=pd.array(days, dtype="Int64"),
        unscored=pd.array(unscored, dtype="str"),
    )


def _exam_facts(
    dxa: DxaTable, patient_id: str, ct_date: str, levels: str, reading: TScoreSource
) -> tuple[bool, int | None, str]:
    """Return whether there is an exam, the days from it to the CT, and levels without T-score."""
    exam = dxa.nearest(patient_id, ct_date)
    if exam is None:
        return False, None, ""
    dated = ct_date != "" and exam.date is not None
    days = interval_days(exam, date.fromisoformat(ct_date)) if dated else None
    scored = exam.scored_levels(reading)
    missing = "L1-L4" if not scored else " ".join(x for x in levels.split() if x not in scored)
    return True, days, missing
