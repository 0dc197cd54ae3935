"""The WHO's classes of bone density."""

from decimal import Decimal
from typing import Final

OSTEOPOROSIS_AT_MOST: Final = Decimal("-2.5")
NORMAL_AT_LEAST: Final = Decimal("-1.0")


def who_class(t_score: Decimal) -> str:
    """Return the class of a T-score, compared as a decimal (docs/interpretations.md#18).

    Returns
    -------
    {"normal", "osteopenia", "osteoporosis"}
        ``normal`` from -1.0 upwards, ``osteoporosis`` from -2.5 downwards, ``osteopenia`` between
        (section 3.1, after WHO Technical Report 843, 1994).

    Examples
    --------
    >>> who_class(Decimal("-2.50")), who_class(Decimal("-2.49")), who_class(Decimal("-1.00"))
    ('osteoporosis', 'osteopenia', 'normal')
    """
    if t_score >= NORMAL_AT_LEAST:
        return "normal"
    return "osteoporosis" if t_score <= OSTEOPOROSIS_AT_MOST else "osteopenia"
