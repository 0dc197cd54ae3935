"""Every DXA exam of the scanned patients, and which of them counts."""

from datetime import date

import pandas as pd

from dsnet.cohort.exam import DxaTable, Exam, interval_days
from dsnet.schemas import DXA_EXAMS


def exams_table(files: pd.DataFrame, dxa: DxaTable) -> pd.DataFrame:
    """Return `dsnet.schemas.DXA_EXAMS`: for each scan, its patient's exams in order of date.

    Parameters
    ----------
    files : DataFrame
        As `dsnet.exclude.evidence.gather` returns them.
    dxa : DxaTable
    """
    known = files[(files["study_key"] != "") & files["patient_id"].isin(list(dxa.exams))]
    scans = known.drop_duplicates(["patient_key", "study_key"])
    rows = [
        (patient_key, study_key, exam.row, *_choice(exam, dxa.nearest(patient_id, day), day))
        for patient_key, study_key, patient_id, day in zip(
            *(scans[name] for name in ("patient_key", "study_key", "patient_id", "ct_date")),
            strict=True,
        )
        for exam in dxa.exams[patient_id]
    ]
    table = pd.DataFrame(rows, columns=list(DXA_EXAMS.columns))
    return table.astype({**dict.fromkeys(table.columns, str), "dxa_row": "int64"})


def _choice(exam: Exam, nearest: Exam | None, day: str) -> tuple[str, str]:
    dated = exam.date is not None and day != ""
    days = str(interval_days(exam, date.fromisoformat(day))) if dated else ""
    if exam is nearest:
        return days, "counts"
    return days, "farther" if dated else "undated"
