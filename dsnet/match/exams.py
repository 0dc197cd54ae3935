"""Every DXA exam, the one that grades each CT study, and the T-score of each level."""

from datetime import date
from decimal import Decimal

import pandas as pd

from dsnet.cohort.exam import DxaTable, Exam, interval_days
from dsnet.config.cohort import TScoreSource
from dsnet.private import PrivateCohort
from dsnet.schemas import EXAMS, LEVELS, REGIONS


def exams_table(ct: pd.DataFrame, dxa: DxaTable, private: PrivateCohort) -> pd.DataFrame:
    """Return `dsnet.schemas.EXAMS`: for each CT study, its patient's exams in order of date.

    The exam nearest to the study's first day grades it; of two equally near ones the earlier;
    without a day of the CT, the latest. Exams of patients without CT come last.

    Parameters
    ----------
    ct : DataFrame
        The files: ``patient_key`` and ``study_key`` ("" where unreadable), and from the private
        map ``patient_id`` and ``ct_date``.
    dxa : DxaTable
    private : PrivateCohort
        Makes the keys of patients without CT.
    """
    examined = ct[(ct["study_key"] != "") & ct["patient_id"].isin(list(dxa.exams))]
    studies = examined.drop_duplicates(["patient_key", "study_key"])
    dated = examined[examined["ct_date"] != ""]
    first_day = dated.groupby(["patient_key", "study_key"])["ct_date"].min().to_dict()
    rows = []
    for patient_id, *keys in studies[["patient_id", "patient_key", "study_key"]].to_numpy():
        day = first_day.get(tuple(keys), "")
        nearest = dxa.nearest(patient_id, day)
        rows += [
            (*keys, exam.row, *_status(exam, nearest, day), *_scores(exam))
            for exam in dxa.exams[patient_id]
        ]
    scanned = set(ct["patient_id"])
    rows += [
        (private.pseudonym("patient", patient_id), "", exam.row, "", "no_ct", *_scores(exam))
        for patient_id, exams in dxa.exams.items()
        if patient_id not in scanned
        for exam in exams
    ]
    table = pd.DataFrame(rows, columns=list(EXAMS.columns))
    return table.astype({**dict.fromkeys(table.columns, str), "dxa_row": "int64"})


def level_scores(exams: pd.DataFrame, source: TScoreSource) -> pd.DataFrame:
    """Return the T-score that grades each level, of each study that has an exam.

    Parameters
    ----------
    exams : DataFrame
        `dsnet.schemas.EXAMS`.
    source : {"patient", "vertebra", "lowest"}
        The exam's L1-L4 T-score, the level's own, or the lowest of the levels measured
        (docs/interpretations.md#17). The lowest needs two levels at least (ISCD 2019 Official
        Positions, Adult: no diagnosis from a single vertebra).

    Returns
    -------
    DataFrame
        ``patient_key``, ``study_key``, ``interval_days`` (str) and a column of decimals as text for
        each of `LEVELS`, "" where there is none.
    """
    nearest = exams[exams["status"] == "nearest"].reset_index(drop=True)
    scores = nearest[[f"{region}_t_score" for region in REGIONS]].set_axis(REGIONS, axis=1)
    if source == "patient":
        graded = pd.DataFrame(dict.fromkeys(LEVELS, scores["L1-L4"]))
    elif source == "vertebra":
        graded = scores[list(LEVELS)]
    else:
        lowest = [_lowest(row) for row in scores[list(LEVELS)].to_numpy().tolist()]
        graded = pd.DataFrame({level: pd.Series(lowest, dtype=str) for level in LEVELS})
    return pd.concat([nearest[["patient_key", "study_key", "interval_days"]], graded], axis=1)


def _lowest(scores: list[str]) -> str:
    measured = [score for score in scores if score]
    return min(measured, key=Decimal) if len(measured) >= 2 else ""


def _scores(exam: Exam) -> list[str]:
    """Return the T-scores of each region as they grade, then as the table gives them."""
    return [
        f"{scores[region]:f}" if region in scores else ""
        for scores in (exam.t_scores, exam.raw)
        for region in REGIONS
    ]


def _status(exam: Exam, nearest: Exam | None, day: str) -> tuple[str, str]:
    """Return the days from the exam to the study, and whether it grades it."""
    dated = exam.date is not None and day != ""
    days = str(interval_days(exam, date.fromisoformat(day))) if dated else ""
    if exam is nearest:
        return days, "nearest"
    return days, "farther" if dated else "undated"
