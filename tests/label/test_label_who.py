from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.label.who import who_class
from dsnet.schemas import CLASSES

T_SCORES = st.decimals(-10, 10, places=2)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("-0.99", "normal"),
        ("-1.0", "normal"),
        ("-1.00", "normal"),
        ("-1", "normal"),
        ("-1.01", "osteopenia"),
        ("-2.49", "osteopenia"),
        ("-2.5", "osteoporosis"),
        ("-2.50", "osteoporosis"),
        ("-2.4999999999999999999", "osteopenia"),
        ("-2.51", "osteoporosis"),
        ("10", "normal"),
        ("-10", "osteoporosis"),
    ],
)
def test_the_limits_are_exact(text: str, name: str) -> None:
    assert who_class(Decimal(text)) == name


@given(T_SCORES, T_SCORES)
@settings(deadline=None, max_examples=50, derandomize=True)
def test_a_lower_t_score_is_never_a_better_class(one: Decimal, other: Decimal) -> None:
    low, high = sorted([one, other])
    assert CLASSES.index(who_class(low)) >= CLASSES.index(who_class(high))
