"""T-scores of the lumbar spine, one row of the DXA table per exam.

Exports differ in the names of their columns: there are presets for two vendors, and a free map. No
vendor publishes a list, and versions, languages and sites differ; the presets hold the usual
English names. Names are compared without regard to case and blanks.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Final, get_args

from dsnet.cohort.exam import PRINTED, REGIONS, SPINE, DxaTable, Exam, lumbar_mean
from dsnet.cohort.spreadsheet import Row, describe, normalised, read_table
from dsnet.config.cohort import DXA_COLUMNS, Dxa, DxaReference, TScoreSource
from dsnet.errors import UserError
from dsnet.schemas import LEVELS

_DEFAULTS = Dxa()
_MAX_ABS_T = Decimal(10)
_MAX_BMD_G_CM2 = Decimal(5)
_NO_BONE_G_CM2 = Decimal("0.01")
# Digits before the point of a number that a message may repeat. A T-score typed without its point
# has two or three; a longer number may be a hospital ID in the wrong column.
_REPEATED_DIGITS = 3
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)", re.ASCII)
# Statistics programs write a zero as 5.4e-79.
_SCIENTIFIC = re.compile(rf"{_NUMBER.pattern}([eE][+-]?\d+)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _ge_lunar() -> dict[str, tuple[str, ...]]:
    """Return enCORE's names by this project's column."""
    names: dict[str, tuple[str, ...]] = {
        "patient_id": ("Patient ID", "Patient Id."),
        "exam_date": ("Measure Date", "Measurement Date", "Exam Date"),
    }
    for region in REGIONS:
        names[f"{region}_t_score"] = (
            f"{region} T-Score",
            f"{region} YA T-Score",
            f"{region} Young-Adult T-Score",
        )
        names[f"{region}_bmd_g_cm2"] = (f"{region} BMD", f"{region} BMD (g/cm2)")
    return names


def _hologic() -> dict[str, tuple[str, ...]]:
    """Return Apex's names by this project's column."""
    names: dict[str, tuple[str, ...]] = {
        "patient_id": ("IDENTIFIER1", "Patient ID"),
        "exam_date": ("SCAN_DATE", "Scan Date"),
    }
    for region, vendor in zip(REGIONS, (*LEVELS, "TOT"), strict=True):
        total = (SPINE, "Total") if region == SPINE else ()
        names[f"{region}_t_score"] = tuple(
            form
            for name in (vendor, *total)
            for form in (f"{name}_TSCORE", f"{name}_T_SCORE", f"{name} T-Score")
        )
        names[f"{region}_bmd_g_cm2"] = tuple(
            form for name in (vendor, *total) for form in (f"{name}_BMD", f"{name} BMD")
        )
    return names


PRESETS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "dsnet": {},
    "ge_lunar": _ge_lunar(),
    "hologic": _hologic(),
}
"""The names of an export's columns by this project's."""


def _translation(params: Dxa) -> dict[str, str]:
    """Return this project's column by the normalised form of every name that means it.

    A column that the config names itself goes by that name alone.
    """
    names = {column: (column, *PRESETS[params.preset].get(column, ())) for column in DXA_COLUMNS}
    names.update({column: (name,) for column, name in params.columns.items()})
    return {normalised(name): column for column, each in names.items() for name in each}


def check_reading(reading: str) -> TScoreSource:
    """Return `reading` if it is one that labels can follow.

    Raises
    ------
    UserError
    """
    for source in get_args(TScoreSource):
        if reading == source:
            return source  # type: ignore[no-any-return]  # get_args forgets the literal's type
    raise UserError(
        "config",
        expected=f"label.t_score to be one of {', '.join(get_args(TScoreSource))}",
        came=f"{reading!r}",
        remedy="correct the config file",
    )


def read_dxa(path: Path, reading: TScoreSource = "patient", params: Dxa = _DEFAULTS) -> DxaTable:
    """Return the exams of the DXA table; none where there is no such file.

    Required columns: ``patient_id``, ``exam_date`` and the T-score (with a reference, the BMD) of
    L1-L4, and of L1 to L4 where `reading` labels by them or outlier levels are left out. Two rows
    of one patient and date must agree (a blank date counts as one date, since nothing could choose
    between them).

    Parameters
    ----------
    path : Path
        ``dxa.csv`` or ``dxa.xlsx``.
    reading : {"patient", "vertebra", "lowest"}
    params : Dxa

    Raises
    ------
    UserError
        Naming row and column of what cannot be read.
    """
    if not path.exists():
        return DxaTable({})
    exams = [
        _exam(row, params)
        for row in read_table(path, _required(reading, params), _translation(params))
    ]
    _check_agreement(path.name, exams)
    by_patient: dict[str, list[Exam]] = {}
    for exam in exams:
        by_patient.setdefault(exam.patient_id, []).append(exam)
    without_id = len(by_patient.pop("", []))
    ordered = {
        patient: tuple(sorted(own, key=lambda exam: (exam.date or date.min, exam.row)))
        for patient, own in by_patient.items()
    }
    return DxaTable(ordered, without_id)


def _required(reading: TScoreSource, params: Dxa) -> list[str]:
    by_level = reading != "patient" or params.outlier_levels == "leave_out"
    quantity = "bmd_g_cm2" if params.reference else "t_score"
    regions = REGIONS if by_level else (SPINE,)
    return ["patient_id", "exam_date", *(f"{region}_{quantity}" for region in regions)]


def _exam(row: Row, params: Dxa) -> Exam:
    scores = {
        region: _from_bmd(row, region, params.reference)
        if params.reference
        else _t_score(row, f"{region}_t_score")
        for region in REGIONS
        if not _is_invalid(row, f"{region}_invalid")
    }
    measured = {region: score for region, score in scores.items() if score is not None}
    if params.outlier_levels == "leave_out":
        spine = lumbar_mean(measured)
        measured = {**measured, SPINE: spine} if spine is not None else _without_spine(measured)
    return Exam(row.number, row.cells["patient_id"], _date(row, params.date_format), measured)


def _without_spine(scores: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {region: score for region, score in scores.items() if region != SPINE}


def _from_bmd(row: Row, region: str, reference: DxaReference) -> Decimal | None:
    """Return the T-score of a density, to one decimal as densitometers print it."""
    column = f"{region}_bmd_g_cm2"
    text = row.cells.get(column, "")
    young = {str(name): value for name, value in reference.regions.items()}.get(region)
    if not text or young is None:
        return None
    value = _decimal(text) if _SCIENTIFIC.fullmatch(text) else Decimal(-1)
    if not 0 <= value < _MAX_BMD_G_CM2:
        raise row.error(
            column,
            expected="a bone mineral density from 0 to 5 g/cm2, or nothing",
            came=describe(text),
            private=text,
        )
    if value < _NO_BONE_G_CM2:  # no bone is that thin: what was not measured is written as zero
        return None
    score = (value - Decimal(str(young.mean_g_cm2))) / Decimal(str(young.sd_g_cm2))
    return score.quantize(PRINTED, ROUND_HALF_UP)


def _is_invalid(row: Row, column: str) -> bool:
    """Return whether the densitometer's operator left a region out: any code but zero."""
    text = row.cells.get(column, "").lower()
    if _SCIENTIFIC.fullmatch(text):
        return abs(_decimal(text)) > Decimal("1e-9")
    return text not in ("", "no", "n", "false")


def _t_score(row: Row, column: str) -> Decimal | None:
    text = row.cells.get(column, "")
    if not text:
        return None
    expected = "a T-score between -10 and 10, or nothing"
    if not _NUMBER.fullmatch(text):
        raise row.error(column, expected=expected, came=describe(text), private=text)
    value = _decimal(text)
    if abs(value) > _MAX_ABS_T:
        repeatable = abs(value) < 10**_REPEATED_DIGITS
        came = text if repeatable else f"a number of {len(text)} characters"
        raise row.error(column, expected=expected, came=came, private=text)
    return value


def _decimal(text: str) -> Decimal:
    """Return a number written with a decimal point or comma."""
    return Decimal(text.replace(",", "."))


def _date(row: Row, form: str) -> date | None:
    text = row.cells["exam_date"]
    if not text:
        return None
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        if form != _DEFAULTS.date_format:
            return datetime.strptime(text, form).date()
    except ValueError:  # such as a 30th of February: reported below
        pass
    raise row.error(
        "exam_date",
        expected=f"a date as {_spelled(form)}, or nothing",
        came=describe(text),
        private=text,
    )


def _spelled(form: str) -> str:
    words = {"%Y": "YYYY", "%y": "YY", "%m": "MM", "%d": "DD"}
    for code, word in words.items():
        form = form.replace(code, word)
    return form


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
