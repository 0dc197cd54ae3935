import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from dsnet.evaluate.calibration import fit_temperature, scale
from dsnet.evaluate.grading import Units, calibration_error
from dsnet.evaluate.matching import Floats, Integers


def boxes(truth: Integers, probability: Floats) -> Units:
    return Units(truth, probability, np.zeros(len(truth), int), np.ones(len(truth), bool))


def drawn(seed: int, sureness: float, count: int = 3000) -> tuple[Floats, Units]:
    """Return logits, and boxes that are `sureness` times as sure as they should be."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 2, (count, 3))
    truth = (rng.random((count, 1)) > softmax(logit, axis=1).cumsum(axis=1)).sum(axis=1)
    return logit, boxes(np.minimum(truth, 2), softmax(sureness * logit, axis=1))


@pytest.mark.parametrize("sureness", [0.4, 1.0, 3.0])
def test_finds_the_temperature_that_made_them_too_sure(sureness: float) -> None:
    _, units = drawn(1, sureness)
    temperature = fit_temperature(units)
    assert temperature == pytest.approx(sureness, rel=0.1)
    cooled = units.with_probability(scale(units.probability, sureness))
    once = np.ones((1, 1))
    if sureness != 1:
        assert calibration_error(cooled, once)[0] < calibration_error(units, once)[0] / 2


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 3))
def test_no_other_temperature_is_likelier(seed: int, sureness: float) -> None:
    logit, units = drawn(seed, sureness, count=60)

    def loss(inverse: float) -> float:
        likely = log_softmax(inverse * sureness * logit, axis=1)
        return -float(likely[np.arange(60), units.truth].mean())

    best = minimize_scalar(loss, bounds=(0, 20), method="bounded", options={"xatol": 1e-9})
    temperature = fit_temperature(units)
    assert temperature is not None
    assert temperature == pytest.approx(1 / best.x, rel=1e-4)


def test_scaling_keeps_the_ranking_and_can_be_undone() -> None:
    _, units = drawn(2, 2.0, count=50)
    scaled = scale(units.probability, 2.5)
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    np.testing.assert_array_equal(scaled.argsort(axis=1), units.probability.argsort(axis=1))
    np.testing.assert_allclose(scale(scaled, 1 / 2.5), units.probability, atol=1e-9)


def test_no_temperature_without_evidence() -> None:
    sure = np.array([[0.8, 0.1, 0.1]] * 3)
    assert fit_temperature(boxes(np.empty(0, int), np.empty((0, 3)))) is None
    assert fit_temperature(boxes(np.zeros(3, int), sure)) is None  # all right
    assert fit_temperature(boxes(np.ones(3, int), sure)) is None  # worse than guessing
    assert fit_temperature(boxes(np.array([0, 0, 1]), sure)) is not None


def test_certain_and_wrong_is_finite() -> None:
    units = boxes(np.array([0, 0, 1]), np.eye(3)[[0, 0, 0]])
    temperature = fit_temperature(units)
    assert temperature is not None
    np.testing.assert_allclose(scale(units.probability, temperature)[0, 0], 2 / 3, atol=1e-3)
