"""Drawing test and validation patients, stratified by class."""

from collections.abc import Mapping
from fractions import Fraction
from math import floor
from typing import Any

import pandas as pd

from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.schemas import CLASSES

_REMEDY = "label more patients, or correct what excludes them (dsnet audit shows it)"

_PATIENTS = (
    "patients of each class (split.min_patients_per_class), counting those that share a study or "
    "an image as one"
)


def draw(patients: pd.DataFrame, params: Split) -> "pd.Series[str]":
    """Return the part of each patient (docs/interpretations.md#11).

    Test patients are drawn first, among those with all of L1-L4; validation patients are drawn
    from the rest. Within a class the patients come in the order of their content hash. Patients
    that must stay together count as one, under their most severe class: as one person they would
    be one. Every part holds at least one of each class.

    Parameters
    ----------
    patients : pandas.DataFrame
        As `dsnet.split.patients.describe` returns them.
    params : Split

    Raises
    ------
    UserError
        If a class has too few patients, or too few with all levels for its share of the test part.
    """
    return patients["group"].map(deal(_gather(patients), params, _PATIENTS))


def deal(units: pd.DataFrame, params: Split, what: str) -> "pd.Series[str]":
    """Return the part of each unit, by the index of `units`.

    Parameters
    ----------
    units : pandas.DataFrame
        In the order in which they are drawn: `stratum`, and `complete`, without which a unit is
        not for the test part.
    params : Split
    what : str
        What there must be enough of, for the error message.
    """
    _require(units, params.min_patients_per_class, what)
    test = _take(units[units["complete"]], _test_counts(units, params.test_fraction))
    rest = units.drop(index=test)
    sizes = _sizes(rest)
    spare = {name: size - 1 for name, size in sizes.items()}
    validation = _take(rest, apportion(sizes, params.validation_fraction, spare))
    parts = pd.Series("train", index=units.index, dtype=str)
    parts[test] = "test"
    parts[validation] = "validation"
    return parts


def apportion(sizes: Mapping[str, int], fraction: float, most: Mapping[str, int]) -> dict[str, int]:
    """Return how many of each class make up `fraction` of all, by largest remainder.

    The total is `fraction` of all, rounded half up, unless the bounds forbid it.

    Parameters
    ----------
    sizes : mapping of str to int
        Patients of each class.
    fraction : float
        Compared as the decimal that was written, so that 0.2 of 15 is 3.
    most : mapping of str to int
        The bound from above, at least 1; the bound from below is 1.
    """
    share = Fraction(str(fraction))
    total = floor(share * sum(sizes.values()) + Fraction(1, 2))
    counts = dict.fromkeys(sizes, 1)
    while sum(counts.values()) < total:
        # Giving each seat to the class that lacks most yields the largest remainders.
        lacks = {name: share * sizes[name] - n for name, n in counts.items() if n < most[name]}
        if not lacks:
            break
        counts[max(lacks, key=lambda name: lacks[name])] += 1
    return counts


def _gather(patients: pd.DataFrame) -> pd.DataFrame:
    """Return one row per group, in the order in which they are drawn."""
    severity = patients["stratum"].map(CLASSES.index)
    grouped = patients.assign(severity=severity).groupby("group")
    groups = grouped.agg({"severity": "max", "complete": "all", "order": "first"})
    groups["stratum"] = groups["severity"].map(CLASSES.__getitem__)
    return groups.sort_values("order")


def _sizes(groups: pd.DataFrame) -> dict[str, int]:
    return {name: int((groups["stratum"] == name).sum()) for name in CLASSES}


def _say(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _require(groups: pd.DataFrame, least: int, what: str) -> None:
    sizes = _sizes(groups)
    if min(sizes.values()) < least:
        raise UserError(
            "labels.csv",
            expected=f"at least {least} {what}",
            came=_say(sizes),
            remedy=_REMEDY,
        )


def _test_counts(groups: pd.DataFrame, fraction: float) -> dict[str, int]:
    sizes = _sizes(groups)
    # One stays for training, one for validation.
    counts = apportion(sizes, fraction, {name: size - 2 for name, size in sizes.items()})
    complete = _sizes(groups[groups["complete"]])
    if any(complete[name] < count for name, count in counts.items()):
        raise UserError(
            "labels.csv",
            expected=f"for the test part, patients with all of L1-L4 labelled: {_say(counts)}",
            came=_say(complete),
            remedy=f"{_REMEDY}, or lower split.test_fraction",
        )
    return counts


def _take(groups: pd.DataFrame, counts: Mapping[str, int]) -> "pd.Index[Any]":
    """Return the first groups of each class."""
    place = groups.groupby("stratum").cumcount()
    return groups.index[place < groups["stratum"].map(counts)]
