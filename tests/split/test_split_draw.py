from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.config.cohort import Split
from dsnet.errors import UserError
from dsnet.schemas import CLASSES, SUBSETS
from dsnet.split.draw import apportion, draw
from dsnet.split.patients import describe

FRACTIONS = st.sampled_from([0.1, 0.15, 0.2, 0.25, 0.3])
COUNTS = st.tuples(*[st.integers(8, 25)] * 3)


@settings(deadline=None, max_examples=25)
@given(COUNTS, FRACTIONS, FRACTIONS, st.integers(0, 99))
def test_every_part_has_every_class_and_test_patients_all_levels(
    make_tables: Callable[..., Any],
    counts: tuple[int, ...],
    test: float,
    validation: float,
    seed: int,
) -> None:
    params = Split(seed=seed, test_fraction=test, validation_fraction=validation)
    tables = make_tables(counts, incomplete=2)
    patients = describe(tables.boxes, tables.files, seed)
    parts = draw(patients, params)
    assert sorted(parts.index) == sorted(set(tables.boxes["patient_key"]))
    held = pd.crosstab(patients["stratum"], parts)
    assert (held.loc[list(CLASSES), list(SUBSETS)] >= 1).all(axis=None)
    assert patients["complete"][parts == "test"].all()
    total = len(patients)
    assert abs((parts == "test").sum() - test * total) <= 0.5 + 1e-9
    for name in CLASSES:
        assert abs(held.loc[name, "test"] - test * held.loc[name].sum()) < 1


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(3, 400), min_size=1, max_size=3), FRACTIONS)
def test_apportion_gives_the_largest_remainders(sizes: list[int], fraction: float) -> None:
    share = Fraction(str(fraction))
    named = dict(zip(CLASSES, sizes, strict=False))
    counts = apportion(named, fraction, {name: size - 2 for name, size in named.items()})
    floors = {name: int(share * size) for name, size in named.items()}
    if min(floors.values()) < 1:
        assert min(counts.values()) >= 1
        return
    # The textbook form: floors, then one seat each by descending remainder.
    seats = int(share * sum(sizes) + Fraction(1, 2)) - sum(floors.values())
    by_remainder = sorted(named, key=lambda name: floors[name] - share * named[name])
    expected = {name: floors[name] + (name in by_remainder[:seats]) for name in named}
    assert counts == expected


@pytest.mark.parametrize(
    ("sizes", "fraction", "expected"),
    [
        ((5, 5, 6), 0.2, (1, 1, 1)),
        ((36, 36, 36), 0.2, (8, 7, 7)),
        ((15, 15, 15), 0.2, (3, 3, 3)),
        ((4, 4, 92), 0.2, (1, 1, 18)),
        ((3, 3, 3), 0.9, (1, 1, 1)),
    ],
)
def test_apportion_by_hand(
    sizes: tuple[int, ...], fraction: float, expected: tuple[int, ...]
) -> None:
    named = dict(zip(CLASSES, sizes, strict=True))
    counts = apportion(named, fraction, {name: size - 2 for name, size in named.items()})
    assert tuple(counts.values()) == expected


def test_another_seed_draws_another_test_part(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((12, 12, 12))
    drawn = set()
    for seed in range(5):
        parts = draw(describe(tables.boxes, tables.files, seed), Split(seed=seed))
        drawn.add(tables.hashes_of(parts.index[parts == "test"]))
    assert len(drawn) == 5


def test_too_few_patients_of_a_class_are_counted(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((5, 4, 2))
    with pytest.raises(UserError, match=r"at least 3 .* 5 normal, 4 osteopenia, 2 osteoporosis"):
        draw(describe(tables.boxes, tables.files, 0), Split())


def test_an_absent_class_is_counted_too(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((5, 0, 5))
    with pytest.raises(UserError, match="5 normal, 0 osteopenia, 5 osteoporosis"):
        draw(describe(tables.boxes, tables.files, 0), Split())


def test_no_patient_at_all_is_an_error_of_the_same_kind(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((3, 3, 3))
    with pytest.raises(UserError, match="0 normal, 0 osteopenia, 0 osteoporosis"):
        draw(describe(tables.boxes.iloc[:0], tables.files, 0), Split())


def test_too_few_patients_with_all_levels_are_counted(make_tables: Callable[..., Any]) -> None:
    tables = make_tables((1, 9, 9), incomplete=10)
    message = r"all of L1-L4.*: 2 normal, 4 osteopenia, 4 .* 1 normal, 9 osteopenia, 9 "
    with pytest.raises(UserError, match=message):
        draw(describe(tables.boxes, tables.files, 0), Split())
