"""Dates in any of the forms in which people and programs write them."""

import re
from datetime import date

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = "|".join(_MONTHS)
# Not within a longer number, a UID or the digits after a decimal point.
_FROM, _TO = r"(?<!\d)(?<!\d\.)", r"(?!\.?\d)"
# A digest, too, has eight digits in a row now and then, but seldom between word boundaries.
_COMPACT = re.compile(
    r"(?<![^\W_])(?<!\d\.)(\d{4})(\d\d)(\d\d)(?:T?\d{4}|T?\d{6})?(?![^\W_])", re.IGNORECASE
)
_YEAR_FIRST = re.compile(rf"{_FROM}(\d{{4}})([-./])(\d{{1,2}})\2(\d{{1,2}}){_TO}")
_YEAR_LAST = re.compile(rf"{_FROM}(\d{{1,2}})([-./])(\d{{1,2}})\2(\d{{4}}){_TO}")
_DAY_MONTH = re.compile(rf"{_FROM}(\d{{1,2}})[-. ]+({_MONTH})[a-z]*[-., ]+(\d{{4}})(?!\d)", re.I)
_MONTH_DAY = re.compile(rf"\b({_MONTH})[a-z]*[-. ]+(\d{{1,2}})[-., ]+(\d{{4}})(?!\d)", re.I)


def dates(text: str) -> set[str]:
    """Return the dates that `text` names, as YYYY-MM-DD; 3/4/2020 is both of its readings.

    Known forms: YYYYMMDD (with or without a time after it), year first or last with ``-``, ``.``
    or ``/`` and with or without leading zeros, and English month names.
    """
    days = {_iso(y, m, d) for y, m, d in _COMPACT.findall(text)}
    days |= {_iso(y, m, d) for y, _, m, d in _YEAR_FIRST.findall(text)}
    for first, _, second, year in _YEAR_LAST.findall(text):
        days |= {_iso(year, second, first), _iso(year, first, second)}
    days |= {_iso(y, _number(m), d) for d, m, y in _DAY_MONTH.findall(text)}
    days |= {_iso(y, _number(m), d) for m, d, y in _MONTH_DAY.findall(text)}
    return days - {""}


def _number(month: str) -> str:
    return str(_MONTHS.index(month[:3].lower()) + 1)


def _iso(year: str, month: str, day: str) -> str:
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return ""
