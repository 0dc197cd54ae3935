"""DXA exams: their T-scores, the one that grades each CT study, and the score of each level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import Final

import pandas as pd

from dsnet.config.cohort import Decimals, TScoreSource
from dsnet.private import PrivateCohort
from dsnet.schemas import EXAMS, LEVELS, REGIONS

SPINE: Final = "L1-L4"

_PRINTED: Final = Decimal("0.1")
_OUTLIER_T: Final = Decimal(1)


def printed(t_score: Decimal) -> Decimal:
    """Return a T-score as a densitometer prints it: one decimal, half away from zero.

    Examples
    --------
    >>> printed(Decimal("-2.45")), printed(Decimal("-2.4499")), printed(Decimal("-0.04"))
    (Decimal('-2.5'), Decimal('-2.4'), Decimal('0.0'))
    """
    return t_score.quantize(_PRINTED, ROUND_HALF_UP) + 0  # which makes -0.0 to 0.0


@dataclass(frozen=True)
class Exam:
    """One DXA exam: all rows of one patient and date.

    Attributes
    ----------
    row : int
        Row of the DXA table, as a spreadsheet shows it: the first one with a T-score, if there is
        one.
    patient_id : str
        Text, leading zeros kept; "" matches no CT.
    date : date or None
        None where the cell is blank.
    raw : mapping of str to Decimal
        T-scores with all the decimals of the table, by ``L1`` to ``L4`` and ``L1-L4``; what was not
        measured is absent. L1-L4 is without outlier levels, where the config leaves them out.
    decimals : {"printed", "exact"}
        How `t_scores` follow from `raw` (docs/interpretations.md#18).
    """

    row: int
    patient_id: str
    date: date | None
    raw: Mapping[str, Decimal]
    decimals: Decimals = "printed"

    @cached_property
    def t_scores(self) -> Mapping[str, Decimal]:
        """T-scores that are graded, by region."""
        if self.decimals == "exact":
            return self.raw
        return {region: printed(t_score) for region, t_score in self.raw.items()}


@dataclass(frozen=True)
class DxaTable:
    """Every exam, by patient.

    Attributes
    ----------
    exams : mapping of str to tuple of Exam
        By patient ID, in order of date; exams without a date come first.
    source : {"patient", "vertebra", "lowest"} or None
        Which T-score labels a vertebra; None: any T-score of the lumbar spine makes an exam one
        that can count.
    """

    exams: Mapping[str, tuple[Exam, ...]]
    source: TScoreSource | None = None

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
            Of the exams with a T-score that can label (a hip scan has none), or else of all: the
            dated one nearest to the CT, of two equally near ones the earlier; without a CT date,
            the latest.
        """
        exams = self.exams.get(patient_id, ()) if patient_id else ()
        exams = tuple(exam for exam in exams if self._can_label(exam)) or exams
        dated = [exam for exam in exams if exam.date is not None]
        if not dated:
            return exams[0] if exams else None
        if not ct_date:
            return dated[-1]
        day = date.fromisoformat(ct_date)
        return min(dated, key=lambda exam: abs(interval_days(exam, day)))

    def _can_label(self, exam: Exam) -> bool:
        if self.source is None:
            return bool(exam.raw)
        if self.source == "patient":
            return SPINE in exam.raw
        levels = sum(level in exam.raw for level in LEVELS)
        return levels >= (2 if self.source == "lowest" else 1)


def interval_days(exam: Exam, ct_date: date) -> int:
    """Return the days from the DXA exam to the CT; negative when the CT came first."""
    if exam.date is None:
        raise ValueError("an exam without a date has no interval")
    return (ct_date - exam.date).days


def lumbar_mean(t_scores: Mapping[str, Decimal]) -> Decimal | None:
    """Return the L1-L4 T-score without outlier levels, or None if fewer than two are left.

    A level is one if it lies more than 1.0 T from each of its neighbours (ISCD 2019 Official
    Positions, Adult; docs/interpretations.md#18). The level farthest from the median goes first,
    and the levels on its two sides become neighbours. Without outliers the exam's own value stays,
    since a mean of T-scores only approximates that of the densities; an exam without one gets none.

    Parameters
    ----------
    t_scores : mapping of str to Decimal
        By region, not rounded: the mean is rounded once, when it is graded.
    """
    left = [level for level in LEVELS if level in t_scores]
    measured = len(left)
    middle = median(t_scores[level] for level in left) if left else Decimal(0)
    while outliers := _outliers([t_scores[level] for level in left]):
        left.pop(max(outliers, key=lambda index: abs(t_scores[left[index]] - middle)))
    if len(left) == measured or SPINE not in t_scores:
        return t_scores.get(SPINE)
    if len(left) < 2:
        return None
    return sum((t_scores[level] for level in left), Decimal(0)) / len(left)


def _outliers(scores: Sequence[Decimal]) -> list[int]:
    """Return the indices of scores that lie far from each of their neighbours."""
    gaps = [abs(one - other) for one, other in pairwise(scores)]
    return [
        index
        for index in range(len(scores))
        if gaps and min(gaps[max(0, index - 1) : index + 1]) > _OUTLIER_T
    ]


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
