from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from dsnet.evaluate.calibration import (
    BINS,
    CALIBRATION,
    calibration,
    calibration_error,
    cross_fitted,
    debiased_calibration_error,
    fit_temperature,
    recalibration,
    reliability,
    scale,
)
from dsnet.evaluate.grading import Units
from dsnet.evaluate.intervals import bootstrap_weights
from dsnet.evaluate.scene import Flags, Floats, Integers

PATIENTS = 6
ONCE = np.ones((1, 1))


def units_of(truth: Integers, probability: Floats, patient: Integers | None = None) -> Units:
    """Return units that all have an answer, of one patient unless given."""
    of = np.zeros(len(truth), int) if patient is None else patient
    return Units(truth, probability, of, np.ones(len(truth), bool))


def sample(seed: int, count: int = 60) -> Units:
    """Return units of six patients; some confidences are below a half, some right, some wrong."""
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet([1, 1, 1], size=count)
    patient = np.append(np.arange(PATIENTS), rng.integers(PATIENTS, size=count - PATIENTS))
    return units_of(rng.integers(3, size=count), probability, patient)


def error_by_sklearn(right: Flags, confidence: Floats) -> float:
    curve = calibration_curve(right, confidence, n_bins=BINS)
    units, _ = np.histogram(confidence, np.linspace(0, 1, BINS + 1))
    return float(np.abs(np.subtract(*curve)) @ units[units > 0] / len(right))


def overconfident(seed: int, sureness: float, count: int = 3000) -> tuple[Floats, Units]:
    """Return logits, and boxes that are `sureness` times as sure as they should be."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 2, (count, 3))
    truth = (rng.random((count, 1)) > softmax(logit, axis=1).cumsum(axis=1)).sum(axis=1)
    return logit, units_of(np.minimum(truth, 2), softmax(sureness * logit, axis=1))


def test_every_statistic_is_defined_in_words() -> None:
    assert list(calibration(sample(0), np.ones((2, PATIENTS)))) == list(CALIBRATION)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_the_calibration_error_equals_scikit_learns(seed: int) -> None:
    units = sample(seed)
    right = units.predicted == units.truth
    expected = error_by_sklearn(right, units.probability.max(axis=1))
    assert calibration_error(units, np.ones((1, PATIENTS)))[0] == pytest.approx(expected)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_slope_and_intercept_equal_scikit_learn_on_every_resample(seed: int) -> None:
    units = sample(seed)
    weights = bootstrap_weights(PATIENTS, 4, seed)
    intercept, slope = recalibration(units, weights)
    right = units.predicted == units.truth
    confidence = units.probability.max(axis=1)
    logit = np.log(confidence / (1 - confidence))
    for row, counts in enumerate(weights):
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
        model.fit(logit[:, None], right, counts[units.patient])
        assert slope[row] == pytest.approx(model.coef_[0, 0], abs=1e-4)
        # The likelihood equation of an intercept: as many right as expected.
        expected = counts[units.patient] @ (expit(intercept[row] + logit) - right)
        assert expected == pytest.approx(0, abs=1e-6)


def test_slope_and_intercept_of_overconfident_probabilities() -> None:
    _, units = overconfident(3, 2.5)
    intercept, slope = recalibration(units, ONCE)
    assert intercept[0] < -0.5
    assert slope[0] < 0.7
    calibrated = replace(units, probability=scale(units.probability, 2.5))
    intercept, slope = recalibration(calibrated, ONCE)
    assert intercept[0] == pytest.approx(0, abs=0.15)
    assert slope[0] == pytest.approx(1, abs=0.15)


def test_no_slope_where_the_confidence_separates_right_from_wrong() -> None:
    confidence = np.array([0.5, 0.6, 0.7, 0.8])
    probability = np.column_stack([confidence, 1 - confidence, np.zeros(4)])
    intercept, slope = recalibration(units_of(np.array([1, 1, 0, 0]), probability), ONCE)
    assert np.isfinite(intercept[0])
    assert np.isnan(slope[0])
    all_right = recalibration(units_of(np.zeros(4, int), probability), ONCE)
    alike = recalibration(units_of(np.array([0, 1]), probability[[1, 1]]), ONCE)
    nothing = recalibration(units_of(np.empty(0, int), np.empty((0, 3))), ONCE)
    assert np.isnan(all_right).all()
    assert np.isnan(alike[1]).all()
    assert np.isnan(nothing).all()


def test_certain_probabilities_have_a_finite_intercept() -> None:
    units = units_of(np.array([0, 0, 1]), np.eye(3)[[0, 0, 0]])
    intercept, _ = recalibration(units, ONCE)
    assert np.isfinite(intercept[0])


def test_the_debiased_error_leaves_out_a_patient_with_itself() -> None:
    units = sample(5)
    distance = units.probability.max(axis=1) - (units.predicted == units.truth)
    count, _, _ = reliability(units, PATIENTS)
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    in_bin = np.searchsorted(edges, units.probability.max(axis=1))
    square = 0.0
    for b in range(BINS):
        pairs = [
            distance[i] * distance[j]
            for i in np.flatnonzero(in_bin == b)
            for j in np.flatnonzero(in_bin == b)
            if units.patient[i] != units.patient[j]
        ]
        if count[:, b].sum():
            square += sum(pairs) * PATIENTS / (PATIENTS - 1) / count[:, b].sum() / len(distance)
    made = debiased_calibration_error(units, np.ones((1, PATIENTS)))[0]
    assert made == pytest.approx(np.sqrt(max(square, 0)))


def test_noise_alone_is_no_debiased_error() -> None:
    plain, debiased = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        probability = softmax(rng.normal(0, 1, (18, 3)), axis=1)
        truth = (rng.random((18, 1)) > probability.cumsum(axis=1)).sum(axis=1)
        units = units_of(np.minimum(truth, 2), probability, np.arange(18))
        plain.append(calibration_error(units, np.ones((1, 18)))[0])
        debiased.append(debiased_calibration_error(units, np.ones((1, 18)))[0])
    assert np.mean(plain) > 0.15  # where the truth is 0
    assert np.mean(np.array(debiased) == 0) > 0.4


def test_one_patient_has_no_debiased_error() -> None:
    assert np.isnan(debiased_calibration_error(sample(1).take(np.arange(1)), ONCE)[0])


def test_cross_fitting_scales_a_patient_by_the_others() -> None:
    _, units = overconfident(7, 2.0, count=60)
    units = Units(units.truth, units.probability, np.arange(60) % PATIENTS, units.answered)
    scaled = cross_fitted(units)
    assert scaled is not None
    own = units.patient == 2
    temperature = fit_temperature(units.take(~own))
    assert temperature is not None
    expected = scale(units.probability[own], temperature)
    np.testing.assert_allclose(scaled.probability[own], expected)
    other = units.truth.copy()
    other[own] = (other[own] + 1) % 3
    again = cross_fitted(Units(other, units.probability, units.patient, units.answered))
    assert again is not None
    np.testing.assert_array_equal(again.probability[own], scaled.probability[own])
    assert (again.probability[~own] != scaled.probability[~own]).any()


def test_reliability_adds_up() -> None:
    units = sample(9)
    count, confidence, right = reliability(units, PATIENTS)
    np.testing.assert_array_equal(count.sum(axis=1), np.bincount(units.patient))
    assert confidence.sum() == pytest.approx(units.probability.max(axis=1).sum())
    assert right.sum() == (units.predicted == units.truth).sum()


def test_units_without_an_answer_are_wrong() -> None:
    truth = np.array([0, 1, 2, 0, 1, 2])
    probability = np.vstack([np.eye(3), np.full((3, 3), 1 / 3)])
    units = Units(truth, probability, np.zeros(6, int), np.arange(6) < 3)
    assert calibration_error(units, ONCE)[0] == pytest.approx(3 / 6 * (1 / 3))


def test_brier_of_two_classes_is_twice_scikit_learns() -> None:
    truth, chance = np.array([0, 1, 1, 0]), np.array([0.2, 0.7, 0.4, 0.1])
    probability = np.column_stack([1 - chance, chance, np.zeros(4)])
    value = calibration(units_of(truth, probability), ONCE)["brier"][0]
    assert value == pytest.approx(2 * brier_score_loss(truth, chance))


@pytest.mark.parametrize("sureness", [0.4, 1.0, 3.0])
def test_recovers_the_temperature_that_made_them_overconfident(sureness: float) -> None:
    _, units = overconfident(1, sureness)
    temperature = fit_temperature(units)
    assert temperature == pytest.approx(sureness, rel=0.1)
    cooled = replace(units, probability=scale(units.probability, sureness))
    if sureness != 1:
        assert calibration_error(cooled, ONCE)[0] < calibration_error(units, ONCE)[0] / 2


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 3))
def test_no_other_temperature_is_likelier(seed: int, sureness: float) -> None:
    logit, units = overconfident(seed, sureness, count=60)

    def loss(inverse: float) -> float:
        likely = log_softmax(inverse * sureness * logit, axis=1)
        return -float(likely[np.arange(60), units.truth].mean())

    best = minimize_scalar(loss, bounds=(0, 20), method="bounded", options={"xatol": 1e-9})
    temperature = fit_temperature(units)
    assert temperature is not None
    assert loss(1 / temperature) <= best.fun + 1e-12


def test_scaling_keeps_the_ranking_and_can_be_undone() -> None:
    _, units = overconfident(2, 2.0, count=50)
    scaled = scale(units.probability, 2.5)
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    np.testing.assert_array_equal(scaled.argsort(axis=1), units.probability.argsort(axis=1))
    np.testing.assert_allclose(scale(scaled, 1 / 2.5), units.probability, atol=1e-9)


def test_no_temperature_without_evidence() -> None:
    sure = np.array([[0.8, 0.1, 0.1]] * 3)
    assert fit_temperature(units_of(np.empty(0, int), np.empty((0, 3)))) is None
    assert fit_temperature(units_of(np.zeros(3, int), sure)) is None  # all right
    assert fit_temperature(units_of(np.ones(3, int), sure)) is None  # worse than guessing
    assert fit_temperature(units_of(np.array([0, 0, 1]), sure)) is not None


def test_certain_and_wrong_is_finite() -> None:
    units = units_of(np.array([0, 0, 1]), np.eye(3)[[0, 0, 0]])
    temperature = fit_temperature(units)
    assert temperature is not None
    np.testing.assert_allclose(scale(units.probability, temperature)[0, 0], 2 / 3, atol=1e-3)
