from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from dsnet.evaluate.clinical_use import THRESHOLDS, decision_curve
from dsnet.evaluate.grading import Units
from dsnet.evaluate.intervals import bootstrap_weights


def made_units(seed: int, patients: int = 40) -> Units:
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=patients)
    probability = rng.dirichlet(np.ones(3) + 2 * np.eye(3)[truth].mean(axis=0), patients)
    return Units(truth, probability, np.arange(patients), np.ones(patients, dtype=bool))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_net_benefit_is_that_of_the_confusion_matrix(seed: int) -> None:
    units = made_units(seed)
    curve = decision_curve(units, bootstrap_weights(40, 100, 0))
    osteoporosis = units.truth == 2
    for at in range(0, len(THRESHOLDS), 5):
        odds = THRESHOLDS[at] / (1 - THRESHOLDS[at])
        sent = units.probability[:, 2] >= THRESHOLDS[at]
        table = confusion_matrix(osteoporosis, sent, labels=[False, True])
        expected = (table[1, 1] - table[0, 1] * odds) / 40
        assert curve["value"][at] == pytest.approx(expected, abs=1e-7)
        everyone = osteoporosis.mean() - (1 - osteoporosis.mean()) * odds
        assert curve["all"][at] == pytest.approx(everyone, abs=1e-7)
        assert curve["gain"][at] == pytest.approx(expected - max(everyone, 0), abs=1e-7)
        assert curve["low"][at] <= curve["high"][at]
        assert curve["gain_low"][at] <= curve["gain_high"][at]


def test_sending_all_gains_nothing_over_sending_all() -> None:
    units = replace(made_units(1), probability=np.tile([0.0, 0.0, 1.0], (40, 1)))
    curve = decision_curve(units, bootstrap_weights(40, 100, 0))
    assert curve["value"] == curve["all"]


def test_a_patient_without_an_answer_is_decided_wrongly() -> None:
    truth = np.array([2, 0])
    answered = np.array([True, False])
    units = Units(truth, np.array([[0, 0, 1.0], [1.0, 0, 0]]), np.arange(2), answered)
    curve = decision_curve(units, np.ones((101, 2)))
    at = curve["threshold"].index(0.5)
    assert curve["value"][at] == 0.5 - 0.5
