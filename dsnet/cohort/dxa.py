"""T-scores of the lumbar spine, one row of ``dxa.csv`` per exam."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import get_args

from dsnet.cohort.table import Row, describe, read_table
from dsnet.config import Reading
from dsnet.contract import LEVELS
from dsnet.errors import UserError

SPINE = "L1-L4"

_MAX_ABS_T = Decimal(10)
# Digits before the point of a number that a message may repeat. A T-score typed without its point
# has two or three; a longer number may be a hospital ID in the wrong column.
_SHOWN_DIGITS = 3
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True)
class Exam:
    """One DXA exam.

    Attributes
    ----------
    row : int
        Row of ``dxa.csv``, as a spreadsheet shows it.
    patient_id : str
        Text, leading zeros kept; "" matches no CT.
    date : date or None
        None where the cell is blank.
    t_scores : mapping of str to Decimal
        By ``L1`` to ``L4`` and ``L1-L4``; what was not measured is absent.
    """

    row: int
    patient_id: str
    date: date | None
    t_scores: Mapping[str, Decimal]

    def t_score(self, level: str, reading: Reading) -> Decimal | None:
        """Return the T-score that labels `level`, or None where there is none.

        Parameters
        ----------
        level : {"L1", "L2", "L3", "L4"}
        reading : {"patient", "vertebra", "lowest"}
            The exam's L1-L4 T-score, the level's own, or the lowest of the levels measured. The
            lowest needs at least two levels (ISCD 2019 Official Positions, Adult, on regions of
            interest: no diagnosis from a single vertebra).
        """
        if reading == "patient":
            return self.t_scores.get(SPINE)
        if reading == "vertebra":
            return self.t_scores.get(level)
        measured = [self.t_scores[name] for name in LEVELS if name in self.t_scores]
        return min(measured) if len(measured) >= 2 else None

    def scored_levels(self, reading: Reading) -> frozenset[str]:
        """Return the levels that have a T-score under `reading`."""
        return frozenset(level for level in LEVELS if self.t_score(level, reading) is not None)


@dataclass(frozen=True)
class DxaTable:
    """Every exam, by patient.

    Attributes
    ----------
    exams : mapping of str to tuple of Exam
        By patient ID, in order of date; exams without a date come first.
    rows_without_patient : int
        Rows whose patient ID is blank: they match nobody.
    """

    exams: Mapping[str, tuple[Exam, ...]]
    rows_without_patient: int = 0

    def nearest(self, patient_id: str, ct_date: str) -> Exam | None:
        """Return the exam that counts for a CT of `patient_id`, or None.

        Parameters
        ----------
        patient_id : str
        ct_date : str
            As YYYY-MM-DD, or "" when unknown.

        Returns
        -------
        Exam or None
            The dated exam nearest to the CT, of two equally near ones the earlier; without a CT
            date, the latest.
        """
        exams = self.exams.get(patient_id, ()) if patient_id else ()
        dated = [exam for exam in exams if exam.date is not None]
        if not dated:
            return exams[0] if exams else None
        if not ct_date:
            return dated[-1]
        day = date.fromisoformat(ct_date)
        return min(dated, key=lambda exam: abs(interval_days(exam, day)))


def interval_days(exam: Exam, ct_date: date) -> int:
    """Return the days from the DXA exam to the CT; negative when the CT came first."""
    if exam.date is None:
        raise ValueError("an exam without a date has no interval")
    return (ct_date - exam.date).days


def check_reading(reading: str) -> Reading:
    """Return `reading` if it is one that labels can follow.

    Raises
    ------
    UserError
    """
    for known in get_args(Reading):
        if reading == known:
            return known  # type: ignore[no-any-return]  # get_args forgets the literal's type
    raise UserError(
        "config",
        expected=f"label.reading to be one of {', '.join(get_args(Reading))}",
        came=f"{reading!r}",
        remedy="correct the config file",
    )


def read_dxa(path: Path, reading: Reading = "patient") -> DxaTable:
    """Return the exams of ``dxa.csv``; none where there is no such file.

    Required columns: ``patient_id``, ``exam_date`` and ``L1-L4_t_score``, and ``L1_t_score`` to
    ``L4_t_score`` where `reading` labels by them. Two rows of one patient and date must agree (a
    blank date counts as one date, since nothing could choose between them).

    Raises
    ------
    UserError
        Naming row and column of what cannot be read.
    """
    if not path.exists():
        _refuse_workbook(path)
        return DxaTable({})
    labelling = (SPINE,) if reading == "patient" else (SPINE, *LEVELS)
    rows = read_table(path, ["patient_id", "exam_date", *(f"{x}_t_score" for x in labelling)])
    exams = [_exam(row) for row in rows]
    _check_agreement(path.name, exams)
    by_patient: dict[str, list[Exam]] = {}
    for exam in exams:
        by_patient.setdefault(exam.patient_id, []).append(exam)
    nameless = len(by_patient.pop("", []))
    ordered = {
        patient: tuple(sorted(own, key=lambda exam: (exam.date or date.min, exam.row)))
        for patient, own in by_patient.items()
    }
    return DxaTable(ordered, nameless)


def _refuse_workbook(path: Path) -> None:
    if path.with_suffix(".xlsx").exists():
        raise UserError(
            "dxa.xlsx",
            expected="the table as CSV",
            came="a workbook",
            remedy="save it as dxa.csv (CSV UTF-8) beside it",
        )


def _exam(row: Row) -> Exam:
    scores = {name: _t_score(row, f"{name}_t_score") for name in (*LEVELS, SPINE)}
    return Exam(
        row.number,
        row.cells["patient_id"],
        _date(row),
        {name: score for name, score in scores.items() if score is not None},
    )


def _t_score(row: Row, column: str) -> Decimal | None:
    text = row.cells.get(column, "")
    if not text:
        return None
    expected = "a T-score between -10 and 10, or nothing"
    if not _NUMBER.fullmatch(text):
        raise row.error(column, expected=expected, came=describe(text), private=text)
    value = Decimal(text)
    if abs(value) > _MAX_ABS_T:
        shown = abs(value) < 10**_SHOWN_DIGITS
        came = text if shown else f"a number of {len(text)} characters"
        raise row.error(column, expected=expected, came=came, private=text)
    return value


def _date(row: Row) -> date | None:
    text = row.cells["exam_date"]
    if not text:
        return None
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:  # such as a 30th of February: reported below
        pass
    raise row.error(
        "exam_date",
        expected="a date as YYYY-MM-DD, or nothing",
        came=describe(text),
        private=text,
    )


def _check_agreement(table: str, exams: Sequence[Exam]) -> None:
    first: dict[tuple[str, date | None], Exam] = {}
    for exam in exams:
        if not exam.patient_id:
            continue
        other = first.setdefault((exam.patient_id, exam.date), exam)
        if other.t_scores != exam.t_scores:
            raise UserError(
                f"{table} rows {other.row} and {exam.row}",
                expected="one result for one patient and date",
                came="two that disagree",
                remedy="delete the wrong row",
                private=exam.patient_id,
            )
