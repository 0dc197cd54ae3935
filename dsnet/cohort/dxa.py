"""T-scores of the lumbar spine from the DXA table, which has one row per exam or scan.

Exports differ in the names of their columns: there are presets for two vendors, and a free map. No
vendor publishes a list. Versions and sources:

- Hologic: the names of Apex's database (PatScan.mdb: ``IDENTIFIER1``, ``SCAN_DATE``, ``SCAN_TYPE``
  with 1 for the lumbar spine, ``L1_BMD``, ``TOT_BMD``, ``L1_INCLUDED``), as programs that read Apex
  2 to 5 use them. Its spine table has no T-scores.
- GE Lunar: the words of enCORE's reports (versions 12 to 18: ``BMD (g/cm2)``, ``YA T-score``), and
  the names that DXA2 (doi 10.5281/zenodo.3974993) gives to them (``Patients_ID``, ``L1L4TScr``).
  enCORE exports text in UTF-16, separated by tabs.

Names of a preset are compared by their letters and digits.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Context, Decimal
from functools import cache
from pathlib import Path
from typing import Final

from dsnet.cohort.exams import SPINE, DxaTable, Exam, lumbar_mean
from dsnet.cohort.spreadsheet import Row, normalised, patient_ids, read_table
from dsnet.config.cohort import DXA_COLUMNS, Dxa, DxaReference, TScoreSource
from dsnet.errors import UserError, collectable
from dsnet.schemas import LEVELS, REGIONS

_DEFAULTS: Final = Dxa()
_MAX_ABS_T: Final = Decimal(10)
_MAX_BMD_G_CM2: Final = Decimal(5)
_NO_BONE_G_CM2: Final = Decimal("0.01")
_OUTSIDE_T: Final = Decimal("0.2")
"""How far L1-L4 may lie beyond its highest or lowest level: of 2,056 spines of NHANES 2017-2020,
graded against four references, none lay more than 0.1 outside."""
_OUTSIDE_SOME_T: Final = Decimal(1)
"""The same where not all four levels are given: the others may have counted in L1-L4."""
_WHOLE_NUMBERS: Final = 6
"""As many T-scores, all of them whole, are a sign that decimals were lost: by chance that happens
once in a million tables."""
_FLOATS: Final = Context(prec=15)
"""What is written with more digits is a binary float: -2.4499999999999997 is -2.45."""

# Digits before the point of a number that a message may repeat. A T-score typed without its point
# has two or three; a longer number may be a hospital ID in the wrong column.
_REPEATED_DIGITS: Final = 3
_NUMBER: Final = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)", re.ASCII)
# Statistics programs write a zero as 5.4e-79.
_SCIENTIFIC: Final = re.compile(rf"{_NUMBER.pattern}([eE][+-]?\d+)?", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DATE_FORMATS: Final = (
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d.%m.%y",
)
"""What a message proposes for ``dxa.date_format``, where a date is written so."""
_UNPADDED: Final = re.compile(r"(?<!\d)\d(?!\d)")
_PADDED: Final = re.compile(r"(?<!\d)0\d(?!\d)")
_LUMBAR: Final = re.compile(r"spine|lumbar|l[1-5]|lws|lwk|腰", re.IGNORECASE)
_LATERAL: Final = re.compile(r"\blat", re.IGNORECASE)
_ELSEWHERE: Final = re.compile(
    r"hip|femur|femoral|neck|troch|arm|radius|wrist|body|heel|髋|股|臂|全身", re.IGNORECASE
)


def _ge_lunar() -> dict[str, tuple[str, ...]]:
    """Return the names of enCORE and DXA2 by this project's column."""
    names: dict[str, tuple[str, ...]] = {
        "patient_id": ("Patient ID", "Patients_ID"),
        "exam_date": ("Measure Date", "Measurement Date", "Exam Date"),
        "scan_site": ("Scan Type",),
    }
    for region in REGIONS:
        scores = ("T-Score", "YA T-Score", "Young-Adult T-Score", "TScr")
        names[f"{region}_t_score"] = tuple(f"{region} {score}" for score in scores)
        names[f"{region}_bmd_g_cm2"] = (f"{region} BMD", f"{region} BMD (g/cm2)")
    return names


def _hologic() -> dict[str, tuple[str, ...]]:
    """Return Apex's names by this project's column."""
    names: dict[str, tuple[str, ...]] = {
        "patient_id": ("IDENTIFIER1", "Patient ID", "Patients_ID"),
        "exam_date": ("SCAN_DATE",),
        "scan_site": ("SCAN_TYPE",),
    }
    for region in REGIONS:
        own = ("TOT", "Total", SPINE) if region == SPINE else (region,)
        scores = ("TSCORE", "TScr", "T")
        names[f"{region}_t_score"] = tuple(f"{name}_{score}" for name in own for score in scores)
        names[f"{region}_bmd_g_cm2"] = tuple(f"{name}_BMD" for name in own)
        names[f"{region}_included"] = (f"{region}_INCLUDED",) if region != SPINE else ()
    return names


PRESETS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "dsnet": {},
    "ge_lunar": _ge_lunar(),
    "hologic": _hologic(),
}
"""The names of an export's columns by this project's."""


def read_dxa(path: Path, reading: TScoreSource = "patient", params: Dxa = _DEFAULTS) -> DxaTable:
    r"""Return the exams of the DXA table; none where there is no such file.

    Required columns: ``patient_id``, ``exam_date`` and the T-score (with a reference, the BMD) of
    L1-L4, and of L1 to L4 where `reading` labels by them or outlier levels are left out. Rows of
    one patient and date are one exam: a hip scan adds nothing to it, and what two rows measured
    must agree (a blank date counts as one date, since nothing could choose between them).

    Parameters
    ----------
    path : Path
        ``dxa.csv`` or ``dxa.xlsx``.
    reading : {"patient", "vertebra", "lowest"}
    params : Dxa

    Raises
    ------
    UserError
        Naming row and column of what cannot be read; of values without a patient ID; of dates of
        two kinds; of a lumbar T-score beside another site; of an L1-L4 T-score outside its levels,
        unless the config has it kept; or if all T-scores are whole numbers.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "dxa.csv"
    >>> _ = path.write_text("patient_id,exam_date,L1-L4_t_score\n0042,2022-03-01,-2.6\n")
    >>> (exam,) = read_dxa(path).exams["0042"]
    >>> exam.date.isoformat(), exam.raw["L1-L4"]
    ('2022-03-01', Decimal('-2.6'))
    """
    if not path.exists():
        return DxaTable({})
    by_level = reading != "patient" or params.outlier_levels == "leave_out"
    quantity = "bmd_g_cm2" if params.reference else "t_score"
    regions = REGIONS if by_level else (SPINE,)
    required = ["patient_id", "exam_date", *(f"{region}_{quantity}" for region in regions)]
    rows = read_table(path, required, DXA_COLUMNS, _translation(params))
    ids = patient_ids(rows, DXA_COLUMNS)
    days = _dates(rows, params.date_format)
    scores = [_t_scores(row, params) for row in rows]
    with collectable():
        _check_sites(rows, scores)
    if not params.reference:
        with collectable():
            _check_decimals(path.name, (score for each in scores for score in each.values()))
    by_exam: dict[tuple[str, date | None], list[tuple[Row, Mapping[str, Decimal]]]] = {}
    for row, name, day, measured in zip(rows, ids, days, scores, strict=True):
        if name:
            by_exam.setdefault((name, day), []).append((row, measured))
    by_patient: dict[str, list[Exam]] = {}
    for (name, day), scans in by_exam.items():
        by_patient.setdefault(name, []).append(_exam(name, day, scans, params))
    ordered = {
        name: tuple(sorted(own, key=lambda exam: (exam.date or date.min, exam.row)))
        for name, own in by_patient.items()
    }
    return DxaTable(ordered, reading)


def _translation(params: Dxa) -> Callable[[str], str]:
    """Return what gives this project's name of a column, or its own where there is none.

    A column that the config names itself goes by that name alone.
    """
    own = {normalised(name): column for column, name in params.columns.items()}
    others = [column for column in DXA_COLUMNS if column not in params.columns]
    ours = {normalised(column): column for column in others}
    names = PRESETS[params.preset]
    preset = {_plain(name): column for column in others for name in names.get(column, ())}

    def translate(name: str) -> str:
        plain = normalised(name)
        return own.get(plain) or ours.get(plain) or preset.get(_plain(name)) or name

    return translate


def _plain(name: str) -> str:
    return "".join(re.findall(r"[^\W_]", unicodedata.normalize("NFKC", name).casefold()))


def _exam(
    name: str,
    day: date | None,
    scans: Sequence[tuple[Row, Mapping[str, Decimal]]],
    params: Dxa,
) -> Exam:
    """Return the exam of one patient and day, of all its rows."""
    raw: dict[str, Decimal] = {}
    row_of: dict[str, Row] = {}
    for row, measured in scans:
        for region, score in measured.items():
            first = row_of.setdefault(region, row)
            with collectable():
                if raw.setdefault(region, score) != score:
                    raise UserError(
                        f"{row.table} rows {first.number} and {row.number}",
                        expected="one result for one patient and date",
                        came="two that disagree",
                        remedy="delete the wrong row",
                        private=name,
                    )
    row = min(row_of.values(), key=lambda each: each.number, default=scans[0][0])
    if params.spine_outside_levels == "stop":
        with collectable():
            _check_spine(row_of.get(SPINE, row), raw)
    if params.outlier_levels == "leave_out":
        spine = lumbar_mean(raw)
        raw.pop(SPINE, None)
        if spine is not None:
            raw[SPINE] = _FLOATS.plus(spine)
    return Exam(row.number, name, day, raw, params.decimals)


def _check_spine(row: Row, raw: Mapping[str, Decimal]) -> None:
    """Stop at an L1-L4 T-score that no mean of the levels can be."""
    levels = [raw[level] for level in LEVELS if level in raw]
    if SPINE not in raw or len(levels) < 2:
        return
    slack = _OUTSIDE_T if len(levels) == len(LEVELS) else _OUTSIDE_SOME_T
    if not min(levels) - slack <= raw[SPINE] <= max(levels) + slack:
        raise row.error(
            f"{SPINE}_t_score",
            expected=f"a T-score between those of its levels ({min(levels)} to {max(levels)})",
            came=f"{raw[SPINE]}",
            remedy="see whether columns or rows are mixed up, or set dxa.spine_outside_levels: "
            "keep if levels were left out of it",
        )


def _check_sites(rows: Sequence[Row], scores: Sequence[Mapping[str, Decimal]]) -> None:
    """Stop if a column names the site of each scan, and a lumbar T-score stands beside another."""
    others = [name for name in (rows[0].cells if rows else ()) if name not in DXA_COLUMNS]
    for column in others:
        texts = [row.cells.get(column, "") for row in rows]
        elsewhere = [bool(_ELSEWHERE.search(text)) for text in texts]
        lumbar = [bool(_LUMBAR.search(text)) for text in texts]
        of_one_site = (
            one != other for text, one, other in zip(texts, elsewhere, lumbar, strict=True) if text
        )
        if not any(lumbar) or not all(of_one_site):  # such as a column of remarks
            continue
        for row, other, measured in zip(rows, elsewhere, scores, strict=True):
            if other and measured:
                raise UserError(
                    row.where,
                    expected="lumbar T-scores in rows of the lumbar spine alone",
                    came="one in a row of another site",
                    remedy="name the column of the site in dxa.columns, as scan_site",
                )


def _check_decimals(table: str, scores: Iterable[Decimal]) -> None:
    values = list(scores)
    if len(values) >= _WHOLE_NUMBERS and not any(value % 1 for value in values):
        raise UserError(
            table,
            expected="T-scores with a decimal",
            came=f"{len(values)}, all of them whole numbers",
            remedy="export them with their decimals, and numbers with a decimal comma in quotes",
        )


def _t_scores(row: Row, params: Dxa) -> dict[str, Decimal]:
    """Return what a row measured, by region; nothing for a scan of another site."""
    scores = {}
    with collectable():
        if not _is_lumbar(row, params):
            return {}
    for region in REGIONS:
        invalid, included = (
            row.cells.get(f"{region}_{flag}", "") for flag in ("invalid", "included")
        )
        if _is_set(invalid) or (included and not _is_set(included)):
            continue  # the densitometer's operator left the region out
        with collectable():
            score = (
                _from_bmd(row, region, params.reference)
                if params.reference
                else _t_score(row, f"{region}_t_score")
            )
            if score is not None:
                scores[region] = score
    return scores


def _is_lumbar(row: Row, params: Dxa) -> bool:
    """Return whether a row is of the lumbar spine, as one is that does not name its scan."""
    text = row.cells.get("scan_site", "")
    if params.preset == "hologic" and text.isdecimal():
        return text == "1"
    if not text or _LUMBAR.search(text):
        return not _LATERAL.search(text)
    if _ELSEWHERE.search(text):
        return False
    raise row.error(
        "scan_site", expected="lumbar spine, or another site such as femur, forearm or body"
    )


def _from_bmd(row: Row, region: str, reference: DxaReference) -> Decimal | None:
    """Return the T-score of a density."""
    column = f"{region}_bmd_g_cm2"
    text = row.cells.get(column, "")
    young = {str(name): value for name, value in reference.regions.items()}.get(region)
    if not text or young is None:
        return None
    value = _decimal(text) if _SCIENTIFIC.fullmatch(text) else Decimal(-1)
    if not 0 <= value < _MAX_BMD_G_CM2:
        raise row.error(column, expected="a bone mineral density from 0 to 5 g/cm2, or nothing")
    if value < _NO_BONE_G_CM2:  # no bone is that thin: what was not measured is written as zero
        return None
    score = (value - Decimal(str(young.mean_g_cm2))) / Decimal(str(young.sd_g_cm2))
    return _FLOATS.plus(score)


def _is_set(text: str) -> bool:
    """Return whether a flag is set: any code but zero."""
    if _SCIENTIFIC.fullmatch(text):
        return abs(_decimal(text)) > Decimal("1e-9")
    return text.lower() not in ("", "no", "n", "false")


def _t_score(row: Row, column: str) -> Decimal | None:
    text = row.cells.get(column, "")
    if not text:
        return None
    expected = "a T-score between -10 and 10, or nothing"
    if not _NUMBER.fullmatch(text):
        raise row.error(column, expected=expected)
    value = _decimal(text)
    if abs(value) > _MAX_ABS_T:
        repeatable = abs(value) < 10**_REPEATED_DIGITS
        came = text if repeatable else f"a number of {len(text)} characters"
        raise row.error(column, expected=expected, came=came, private=text)
    return value


def _decimal(text: str) -> Decimal:
    """Return a number written with a decimal point or comma."""
    return _FLOATS.create_decimal(text.replace(",", "."))


def _dates(rows: Sequence[Row], form: str) -> list[date | None]:
    """Return the date of each row.

    A spreadsheet program of another region takes what it can for a date with day and month
    swapped, and leaves the rest as text: a column with both is not to be trusted, nor is one that
    writes some days with a leading zero and others without.
    """
    first: dict[str, Row] = {}
    days = []
    others = cache(lambda: _likely_formats([row.cells["exam_date"] for row in rows], form))
    for row in rows:
        text = row.cells["exam_date"]
        day = None
        with collectable():
            day = _date(row, text, form, others) if text else None
        days.append(day)
        is_iso = bool(_DATE.fullmatch(text)) and form != _DEFAULTS.date_format
        kinds = {
            "a date cell or ISO": is_iso,
            "text": bool(text) and not is_iso and form != _DEFAULTS.date_format,
            "days or months without a leading zero": not is_iso and _UNPADDED.search(text),
            "with a leading zero": not is_iso and _PADDED.search(text),
        }
        for kind, holds in kinds.items():
            if holds:
                first.setdefault(kind, row)
    for one, other in (
        ("a date cell or ISO", "text"),
        ("days or months without a leading zero", "with a leading zero"),
    ):
        if one in first and other in first:
            numbers = sorted((first[one].number, first[other].number))
            with collectable():
                raise UserError(
                    f"{rows[0].table} rows {numbers[0]} and {numbers[1]}",
                    expected="dates of one kind in column exam_date",
                    came=f"{one} beside {other}",
                    remedy="compare day and month with the source, since a spreadsheet program may "
                    "have swapped them, and write all dates alike",
                )
    return days


def _likely_formats(texts: Sequence[str], form: str) -> list[str]:
    """Return the formats other than `form` in which most of the cells are dates.

    One cell alone does not tell days from months; the column does, if one of its days is past 12.
    """
    counts = {
        other: sum(_fits(text, other) for text in texts) for other in _DATE_FORMATS if other != form
    }
    return [other for other, count in counts.items() if count == max(counts.values())]


def _date(row: Row, text: str, form: str, others: Callable[[], Sequence[str]]) -> date:
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        if form != _DEFAULTS.date_format:
            return datetime.strptime(text, form).date()
    except ValueError:  # such as a 30th of February: reported below
        pass
    proposed = [f'"{other}"' for other in others() if _fits(text, other)]
    raise row.error(
        "exam_date",
        expected=f"a date as {_spelled(form)}, or nothing",
        remedy="correct the cell"
        + (f", or set dxa.date_format: {' or '.join(proposed)}" if proposed else ""),
    )


def _fits(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True


def _spelled(form: str) -> str:
    words = {"%Y": "YYYY", "%y": "YY", "%m": "MM", "%d": "DD"}
    for code, word in words.items():
        form = form.replace(code, word)
    return form
