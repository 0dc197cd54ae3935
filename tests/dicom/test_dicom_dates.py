from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.dicom.dates import dates

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
