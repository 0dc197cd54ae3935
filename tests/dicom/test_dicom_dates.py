from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.dicom.dates import dates, possible_dates

FORMS = (
    "{0:%Y%m%d}",
    "{0:%Y%m%d}103059",
    "{0:%Y-%m-%d}",
    "{0:%Y-%m-%d}T10:30:59",
    "{0:%Y/%m/%d}",
    "{0:%d.%m.%Y}",
    "{0:%d/%m/%Y}",
    "{0:%m/%d/%Y}",
    "{0.day}.{0.month}.{0.year}",
    "{0:%d %B %Y}",
    "{0:%d-%b-%Y}",
    "{0:%B %d, %Y}",
    "<td>{0:%Y-%m-%d}</td>",
    "ct_{0:%Y%m%d}_1.png",
    "{0:%d%m%Y}",
    "{0:%m%d%Y}",
    "{0:%d_%m_%Y}",
    "{0:%d%b%Y}",
    "{0.year}年{0.month}月{0.day}日",
    "{0.year}년 {0.month}월 {0.day}일",
)


@settings(deadline=None, max_examples=30)
@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.sampled_from(FORMS))
def test_every_form_is_read(day: date, form: str) -> None:
    assert day.isoformat() in dates(form.format(day))


@pytest.mark.parametrize(
    "text", ["0.20200301", "1.2.840.2020.3.1.4", "202003017", "2020-13-01", "2020-02-30", "v2020.1"]
)
def test_what_is_no_date(text: str) -> None:
    assert dates(text) == set()


@pytest.mark.parametrize(
    "text",
    [
        "15. Juli 1944",
        "15 juillet 1944",
        "15 de julio de 1944",
        "15 luglio 1944",
        "15 de julho de 1944",
        "15 juli 1944",
        "the 15th of July, 1944",
        "昭和19年7月15日",
        "x" * 300 + " 15.07.1944 " + "9 " * 300,
    ],
)
def test_dates_of_other_languages_and_in_long_texts(text: str) -> None:
    assert dates(text) == {"1944-07-15"}


@pytest.mark.parametrize("text", ["15.7.44", "44-07-15", "15-Jul-44", "15 07 1944", "1944 7 15"])
def test_dates_that_may_be_other_numbers(text: str) -> None:
    assert "1944-07-15" in possible_dates(text)
    assert dates(text) == set()
