"""Dates in the forms in which people and programs write them."""

import re
from collections.abc import Iterable
from datetime import date

_MONTH_PREFIXES = (
    "jan ene gen",
    "feb fév fev",
    "mar mär mrt",
    "apr avr abr",
    "may mai mei mag",
    "jun juin giu",
    "jul juil lug",
    "aug aoû aou ago",
    "sep set",
    "oct okt ott out",
    "nov",
    "dec dez déc dic",
)
"""How month names begin in English, German, French, Spanish, Italian, Portuguese and Dutch."""

_MONTHS = {
    prefix: number
    for number, prefixes in enumerate(_MONTH_PREFIXES, start=1)
    for prefix in prefixes.split()
}
_MONTH = rf"({'|'.join(sorted(_MONTHS, key=len, reverse=True))})[^\W\d_]*"
_ERAS = {"明治": 1867, "大正": 1911, "昭和": 1925, "平成": 1988, "令和": 2018}
"""The year before the first of each Japanese era."""

# Not within a longer number, a UID or the digits after a decimal point.
_FROM, _TO = r"(?<!\d)(?<!\d\.)", r"(?!\.?\d)"
# Random hexadecimal digests contain eight digits in a row, but seldom between word boundaries.
_COMPACT_FROM, _COMPACT_TO = r"(?<![^\W_])(?<!\d\.)", r"(?![^\W_])"
_COMPACT = re.compile(
    rf"{_COMPACT_FROM}(\d{{4}})(\d\d)(\d\d)(?:T?\d{{4}}|T?\d{{6}})?{_COMPACT_TO}", re.IGNORECASE
)
_COMPACT_YEAR_LAST = re.compile(rf"{_COMPACT_FROM}(\d\d)(\d\d)((?:19|20)\d\d){_COMPACT_TO}")
_YEAR_FIRST = re.compile(rf"{_FROM}(\d{{4}})([-./_])(\d{{1,2}})\2(\d{{1,2}}){_TO}")
_YEAR_LAST = re.compile(rf"{_FROM}(\d{{1,2}})([-./_])(\d{{1,2}})\2(\d{{4}}){_TO}")
_DAY_MONTH = re.compile(
    rf"{_FROM}(\d{{1,2}})(?:st|nd|rd|th|er|º|\.)?[-._/ ]*(?:(?:of|de) )?{_MONTH}"
    r"[-._,/ ]*(?:del? )?(\d{4})(?!\d)",
    re.IGNORECASE,
)
_MONTH_DAY = re.compile(
    rf"(?<![^\W\d_]){_MONTH}[-._ ]*(\d{{1,2}})(?:st|nd|rd|th)?[-.,_ ]+(\d{{4}})(?!\d)",
    re.IGNORECASE,
)
_CHARACTERS = re.compile(r"(?<!\d)(\d{4})[ _]?[年년][ _]?(\d{1,2})[ _]?[月월][ _]?(\d{1,2})(?!\d)")
_ERA = re.compile(rf"({'|'.join(_ERAS)}) ?(\d{{1,2}}|元) ?年 ?(\d{{1,2}}) ?月 ?(\d{{1,2}})(?!\d)")

_NUMBERS = re.compile(r"\d[\d\-./_ tT]{4,}")
_YEAR = re.compile(r"(?:19|20)\d\d")
_DAY_AND_WORD = re.compile(r"\d{1,2}[-._/ ]{0,3}[^\W\d_]{3,10}[-._/' ]{0,3}\d\d")
_LONGEST = 40
"""Characters of the longest date with the name of a month."""

_SPACED_YEAR_FIRST = re.compile(rf"{_FROM}(\d{{4}}) (\d{{1,2}}) (\d{{1,2}}){_TO}")
_SPACED_YEAR_LAST = re.compile(rf"{_FROM}(\d{{1,2}}) (\d{{1,2}}) (\d{{4}}){_TO}")
_SHORT_YEAR = re.compile(rf"{_FROM}(\d{{1,2}})([-./_])(\d{{1,2}})\2(\d{{1,2}}){_TO}")
_SHORT_YEAR_MONTH = re.compile(
    rf"{_FROM}(\d{{1,2}})[-._/ ]*{_MONTH}[-._/' ]*(\d\d)(?!\d)", re.IGNORECASE
)


def dates(text: str) -> set[str]:
    """Return the dates that `text` contains, as YYYY-MM-DD; 3/4/2020 is both of its readings.

    Recognised are YYYYMMDD (with or without a time after it), DDMMYYYY and MMDDYYYY, year first or
    last with ``-``, ``.``, ``/`` or ``_`` and with or without leading zeros, the names of months
    in seven European languages, 1944年7月15日, 1944년 7월 15일 and years of Japanese eras; names
    of months from 1900 to 2099.

    Examples
    --------
    >>> sorted(dates("born 15.7.1944, seen on July 16th, 2020"))
    ['1944-07-15', '2020-07-16']
    """
    numbers, names = _around(_NUMBERS, text, 2, 2), _around(_YEAR, text, _LONGEST, 1)
    days = {_iso(y, m, d) for y, m, d in _COMPACT.findall(numbers)}
    days |= {_iso(y, m, d) for y, _, m, d in _YEAR_FIRST.findall(numbers)}
    days |= _year_last((a, b, year) for a, _, b, year in _YEAR_LAST.findall(numbers))
    days |= _year_last(_COMPACT_YEAR_LAST.findall(numbers))
    days |= {_iso(y, _number(m), d) for d, m, y in _DAY_MONTH.findall(names)}
    days |= {_iso(y, _number(m), d) for m, d, y in _MONTH_DAY.findall(names)}
    if not text.isascii():
        days |= {_iso(y, m, d) for y, m, d in _CHARACTERS.findall(text)}
        for era, year, month, day in _ERA.findall(text):
            days.add(_iso(_ERAS[era] + (1 if year == "元" else int(year)), month, day))
    return days - {""}


def possible_dates(text: str) -> set[str]:
    """Return the dates that `text` may contain but that may as well be other numbers.

    These are dates with two digits of the year, in both centuries, and dates separated by spaces.

    Examples
    --------
    >>> sorted(possible_dates("15-Jul-44"))
    ['1944-07-15', '2044-07-15']
    """
    numbers = _around(_NUMBERS, text, 2, 2)
    days = {_iso(y, m, d) for y, m, d in _SPACED_YEAR_FIRST.findall(numbers)}
    days |= _year_last(_SPACED_YEAR_LAST.findall(numbers))
    short = _SHORT_YEAR.findall(numbers)
    named = _SHORT_YEAR_MONTH.findall(_around(_DAY_AND_WORD, text, 2, 4))
    for century in (1900, 2000):
        for first, _, second, third in short:
            days |= _year_last([(first, second, century + int(third))])
            days.add(_iso(century + int(first), second, third))
        for day, month, year in named:
            days.add(_iso(century + int(year), _number(month), day))
    return days - {""}


def _around(pattern: re.Pattern[str], text: str, before: int, after: int) -> str:
    """Return each match with some characters before and after it, one a line.

    The patterns of dates are slow on long texts, of which few parts can be dates.
    """
    spans = (match.span() for match in pattern.finditer(text))
    return "\n".join(text[max(0, start - before) : end + after] for start, end in spans)


def _year_last(triples: Iterable[tuple[str, str, str | int]]) -> set[str]:
    """Return both readings, day first and month first, of each triple."""
    days = set()
    for first, second, year in triples:
        days |= {_iso(year, second, first), _iso(year, first, second)}
    return days


def _number(month: str) -> int:
    return _MONTHS[month.lower()]


def _iso(year: str | int, month: str | int, day: str | int) -> str:
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return ""
