from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from dsnet.evaluate.grading import Share
from dsnet.evaluate.intervals import (
    METHODS,
    MOST_UNDEFINED,
    difference_of_cohorts,
    difference_over_seeds,
    estimate_over_seeds,
    scope,
    share_over_seeds,
    spread,
)
from dsnet.evaluate.scene import Floats

QUICK = settings(deadline=None, max_examples=40)


def patients_right(right: int, patients: int) -> Share:
    """Return a share in which each patient is one unit."""
    return Share((np.arange(patients) < right).astype(float), np.ones(patients))


def bounds(made: dict[str, Any]) -> tuple[Any, Any]:
    return made["low"], made["high"]


@QUICK
@given(st.data(), st.integers(1, 200))
def test_a_proportion_of_patients_has_the_exact_interval(
    data: st.DataObject, patients: int
) -> None:
    right = data.draw(st.integers(0, patients))
    made = share_over_seeds([patients_right(right, patients)])
    exact = stats.binomtest(right, patients).proportion_ci(method="exact")
    assert made["value"] == pytest.approx(right / patients)
    assert bounds(made) == pytest.approx((exact.low, exact.high), abs=1e-7)
    assert made["method"] == "share"


def test_patients_without_a_unit_do_not_count() -> None:
    numerator, denominator = np.array([1.0, 1, 0, 0, 0]), np.array([1.0, 1, 1, 0, 0])
    exact = stats.binomtest(2, 3).proportion_ci(method="exact")
    made = share_over_seeds([Share(numerator, denominator)])
    assert bounds(made) == pytest.approx((exact.low, exact.high), abs=1e-7)


def test_boxes_that_agree_within_a_patient_are_worth_no_more_than_patients() -> None:
    boxes = patients_right(12, 18)
    eight_each = Share(8 * boxes.numerator, 8 * boxes.denominator)
    exact = stats.binomtest(12, 18).proportion_ci(method="exact")
    made = share_over_seeds([eight_each])
    assert made["low"] <= exact.low
    assert made["high"] >= exact.high


def test_independent_boxes_are_worth_about_their_number() -> None:
    rng = np.random.default_rng(0)
    boxes = rng.binomial(40, 0.7, 300).astype(float)
    made = share_over_seeds([Share(boxes, np.full(300, 40.0))])
    exact = stats.binomtest(int(boxes.sum()), 12_000).proportion_ci(method="exact")
    assert bounds(made) == pytest.approx((exact.low, exact.high), abs=0.002)


def test_few_patients_have_the_interval_of_korn_and_graubard() -> None:
    rng = np.random.default_rng(3)
    boxes = rng.binomial(8, rng.beta(4, 2, 7)).astype(float)
    share, units, patients = boxes.sum() / 56, 56, 7
    # Over n, not n - 1, so that the interval is exact where each patient is one unit.
    variance = np.sum((boxes - 8 * share) ** 2) / units**2
    t_ratio = stats.t.ppf(0.975, units - 1) / stats.t.ppf(0.975, patients - 1)
    effective = share * (1 - share) / variance * t_ratio**2
    assert effective < units
    right, wrong = share * effective, (1 - share) * effective
    low = stats.beta.ppf(0.025, right, wrong + 1)
    high = stats.beta.ppf(0.975, right + 1, wrong)
    made = share_over_seeds([Share(boxes, np.full(7, 8.0))])
    assert bounds(made) == pytest.approx((low, high), abs=1e-7)


@pytest.mark.parametrize("right", [0, 18])
def test_a_share_of_none_or_all_has_an_interval(right: int) -> None:
    share = patients_right(right, 18)
    eight_each = Share(8 * share.numerator, 8 * share.denominator)
    exact = stats.binomtest(right, 18).proportion_ci(method="exact")
    for seeds in ([eight_each], [eight_each] * 5):
        assert bounds(share_over_seeds(seeds)) == pytest.approx((exact.low, exact.high), abs=1e-7)


def test_a_share_of_nothing_is_undefined() -> None:
    made = share_over_seeds([Share(np.zeros(4), np.zeros(4)), patients_right(2, 4)])
    assert (made["value"], *bounds(made)) == (None, None, None)
    assert made["by_seed"] == [None, 0.5]


def test_trainings_that_differ_widen_the_interval_of_a_share() -> None:
    alike = share_over_seeds([patients_right(12, 18)] * 3)
    # The same mean, and a training that is much worse.
    different = share_over_seeds([patients_right(right, 18) for right in (16, 16, 4)])
    assert alike["value"] == different["value"]
    assert bounds(alike) == bounds(share_over_seeds([patients_right(12, 18)]))
    assert different["low"] < alike["low"] - 0.1
    assert different["high"] > alike["high"] + 0.1
    assert different["seed_sd"] == round(np.std([16 / 18, 16 / 18, 4 / 18], ddof=1), 8)


def test_one_training_has_the_percentile_interval() -> None:
    values = np.concatenate([[0.4], np.arange(101) / 100])
    made = estimate_over_seeds(values[None])
    assert (made["value"], *bounds(made)) == (0.4, 0.025, 0.975)
    assert (made["seed_sd"], made["by_seed"], made["method"]) == (None, [0.4], "bootstrap")


def test_no_interval_has_zero_width() -> None:
    perfect = np.ones((1, 201))
    assert bounds(estimate_over_seeds(perfect)) == (None, None)
    assert bounds(estimate_over_seeds(np.repeat(perfect, 3, axis=0))) == (None, None)
    assert difference_over_seeds(0 * perfect) == {"value": 0, "low": None, "high": None, "p": None}
    three = difference_over_seeds(np.zeros((3, 201)))
    assert three == {"value": 0, "low": None, "high": None, "p": None}


def resampled(seed: int, trainings: int, between: float, patients: float = 0.05) -> Floats:
    """Return values whose resamples move together: all trainings see the same patients."""
    rng = np.random.default_rng(seed)
    centre = 0.7 + rng.normal(0, between, trainings)
    shared, own = rng.normal(0, patients, 400), rng.normal(0, patients / 3, (trainings, 400))
    return np.column_stack([centre, centre[:, None] + shared + own])


def test_trainings_that_agree_leave_the_interval_over_patients() -> None:
    values = resampled(1, 4, between=0.0)
    made = estimate_over_seeds(values)
    low, high = np.quantile(values.mean(axis=0)[1:], [0.025, 0.975])
    assert bounds(made) == pytest.approx((low, high), abs=0.004)


def test_the_order_of_the_resamples_does_not_matter() -> None:
    values = resampled(1, 4, between=0.2)
    turned = np.hstack([values[:, :1], values[:, :0:-1]])
    assert bounds(estimate_over_seeds(turned)) == pytest.approx(bounds(estimate_over_seeds(values)))


def test_trainings_that_differ_widen_the_interval_to_its_limits() -> None:
    narrow, wide = (estimate_over_seeds(resampled(1, 5, between)) for between in (0.0, 0.2))
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])
    different = resampled(1, 2, between=0.0) - [[0.0], [0.5]]
    assert bounds(estimate_over_seeds(different, (0.0, 1.0))) == (0.0, 1.0)


def test_trainings_differ_where_patients_do_not() -> None:
    values = np.repeat([[0.5], [0.7]], 200, axis=1)
    made = estimate_over_seeds(values)
    exact = stats.t.interval(0.95, 1, 0.6, stats.sem([0.5, 0.7]))
    assert bounds(made) == pytest.approx(exact, abs=1e-7)


def test_no_interval_where_few_resamples_define_the_statistic() -> None:
    values = resampled(2, 3, 0.1)
    values[0, 1 : 2 + int(400 * MOST_UNDEFINED)] = np.nan
    assert bounds(estimate_over_seeds(values)) == (None, None)
    assert difference_over_seeds(values)["p"] is None
    values[0, 1] = 0.7
    assert estimate_over_seeds(values)["low"] is not None


def obuchowski_rockette(one: Floats, other: Floats) -> tuple[float, float]:
    """Return F's p-value and the interval's half width, from the textbook's mean squares.

    Two modalities, read by k readers; `one` and `other` (readers, 1 + resamples of cases).
    """
    k, values = len(one), np.stack([one, other])
    point = values[:, :, 0]
    mean = point.mean()
    by_modality, by_reader = point.mean(axis=1), point.mean(axis=0)
    ms_modality = k * ((by_modality - mean) ** 2).sum()
    residual = point - by_modality[:, None] - by_reader + mean
    ms_interaction = (residual**2).sum() / (k - 1)
    covariance = np.cov(values[:, :, 1:].reshape(2 * k, -1)).reshape(2, k, 2, k)
    other_reader = ~np.eye(k, dtype=bool)
    cov2 = np.mean([covariance[m, :, m][other_reader].mean() for m in (0, 1)])
    cov3 = covariance[0, :, 1][other_reader].mean()
    error = ms_interaction + max(k * (cov2 - cov3), 0)
    degrees = error**2 / (ms_interaction**2 / (k - 1))
    p = float(stats.f.sf(ms_modality / error, 1, degrees))
    return p, float(stats.t.ppf(0.975, degrees) * np.sqrt(2 / k * error))


@QUICK
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_differences_equal_obuchowski_and_rockette(seed: int, trainings: int) -> None:
    one, other = (resampled(seed + n, trainings, 0.2, 0.02) for n in (0, 20_000))
    made = difference_over_seeds(one - other)
    total = spread((one - other)[:, 0], np.cov((one - other)[:, 1:]))
    assume(total.variance > total.patients)
    p, half = obuchowski_rockette(one, other)
    assert made["value"] == pytest.approx((one - other)[:, 0].mean(), abs=1e-6)
    assert made["p"] == pytest.approx(p, abs=1e-6)
    assert made["high"] - made["low"] == pytest.approx(2 * half, abs=1e-6)


def test_an_interval_is_never_shorter_than_that_over_patients() -> None:
    total = spread(np.array([0.5, 0.5]), np.array([[0.04, 0.01], [0.01, 0.04]]))
    assert total.variance == total.patients == pytest.approx(0.025)


def test_one_pair_of_trainings_has_no_p_value() -> None:
    values = resampled(3, 1, 0.1)
    made = difference_over_seeds(values)
    low, high = np.quantile(values[0, 1:], [0.025, 0.975])
    assert (made["low"], made["high"]) == pytest.approx((low, high), abs=1e-6)
    assert made["p"] is None


def test_the_difference_turns_its_sign_and_keeps_its_p() -> None:
    values = resampled(4, 3, 0.1)
    there, back = difference_over_seeds(values), difference_over_seeds(-values)
    assert there["p"] == back["p"]
    assert there["low"] == -back["high"]


def test_words() -> None:
    assert scope(0) == "patients"
    assert "this one training" in scope(1)
    assert "these two trainings" in scope(1, "these two trainings")
    assert "5 seeds" in scope(5)
    assert set(METHODS) == {"bootstrap", "share", "none"}


def wilson(right: int, patients: int) -> dict[str, float]:
    interval = stats.binomtest(right, patients).proportion_ci(method="wilson")
    return {"value": right / patients, "low": interval.low, "high": interval.high}


def test_the_difference_of_two_cohorts_is_newcombes() -> None:
    """R. G. Newcombe, Stat. Med. 17, 873-890, 1998, Table II, method 10, first example."""
    made = difference_of_cohorts(wilson(56, 70), wilson(48, 80))
    assert made["value"] == pytest.approx(0.2)
    assert bounds(made) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_difference_of_what_is_undefined_is_undefined() -> None:
    undefined = {"value": None, "low": None, "high": None}
    assert difference_of_cohorts(wilson(5, 9), undefined) == undefined
    bare = {"value": 0.5, "low": None, "high": None}
    made = difference_of_cohorts(wilson(3, 4), bare)
    assert (made["value"], *bounds(made)) == (0.25, None, None)
