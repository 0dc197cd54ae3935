import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.config.detector import Train
from dsnet.train.schedule import learning_rate

steps = st.integers(1, 500)


def config(schedule: str, warmup: int = 10) -> Train:
    return Train(learning_rate=0.02, warmup_steps=warmup, schedule=schedule)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["constant", "step", "cosine"]), steps, st.integers(0, 50), st.data())
def test_the_rate_is_positive_and_never_above_the_config(
    schedule: str, total: int, warmup: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, total - 1))
    rate = learning_rate(step, total, config(schedule, warmup))
    assert 0 < rate <= 0.02


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["constant", "cosine"]), st.integers(20, 500), st.integers(0, 50))
def test_the_rate_has_no_jumps(schedule: str, total: int, warmup: int) -> None:
    rates = [learning_rate(step, total, config(schedule, warmup)) for step in range(total)]
    steepest = 0.02 * max(1 / (warmup + 1), math.pi / 2 / max(1, total - warmup))
    changes = [abs(after - before) for before, after in pairwise(rates)]
    assert max(changes) <= steepest * (1 + 1e-9)


@settings(deadline=None, max_examples=50)
@given(st.integers(20, 500), st.integers(0, 10))
def test_a_step_drops_to_a_tenth_and_nothing_else_changes(total: int, warmup: int) -> None:
    rates = [learning_rate(step, total, config("step", warmup)) for step in range(warmup, total)]
    ratios = [after / before for before, after in pairwise(rates)]
    assert [ratio for ratio in ratios if ratio != 1] == pytest.approx([0.1, 0.1])


def test_warm_up_is_a_straight_line() -> None:
    rates = [learning_rate(step, 100, config("constant")) for step in range(12)]
    assert rates[:10] == pytest.approx([0.02 * (step + 1) / 11 for step in range(10)])
    assert rates[10:] == [0.02, 0.02]


def test_steps_drop_tenfold_twice() -> None:
    rates = [learning_rate(step, 100, config("step", 0)) for step in (59, 60, 84, 85, 99)]
    assert rates == pytest.approx([0.02, 0.002, 0.002, 0.0002, 0.0002])


def test_cosine_is_half_a_wave() -> None:
    rates = [learning_rate(step, 110, config("cosine")) for step in (10, 35, 60, 109)]
    expected = [1.0, 0.5 + 0.5 / math.sqrt(2), 0.5, 0.5 * (1 + math.cos(math.pi * 0.99))]
    assert rates == pytest.approx([0.02 * share for share in expected])


def test_a_training_shorter_than_its_warm_up_only_warms_up() -> None:
    rates = [learning_rate(step, 5, config("cosine")) for step in range(5)]
    assert rates == pytest.approx([0.02 * (step + 1) / 11 for step in range(5)])
