import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    confusion_matrix,
    recall_score,
    roc_auc_score,
)

from dsnet.evaluate.bootstrap import weights
from dsnet.evaluate.grading import BINS, GRADES, Units, confusion, grade, reliability
from dsnet.evaluate.matching import Flags, Floats, Integers
from dsnet.schemas import CLASSES

Sample = tuple[Integers, Floats, Integers]
PATIENTS = 6


def sample(seed: int) -> Sample:
    """Return units of all classes; probabilities are elevenths, so that they tie off the bins."""
    rng = np.random.default_rng(seed)
    truth = np.append([0, 1, 2], rng.integers(3, size=rng.integers(1, 40)))
    counts = rng.multinomial(8, [0.3, 0.3, 0.4], size=len(truth)) + 1
    return (
        truth,
        counts / counts.sum(axis=1, keepdims=True),
        rng.integers(PATIENTS, size=len(truth)),
    )


def calibration_error(right: Flags, confidence: Floats) -> float:
    curve = calibration_curve(right, confidence, n_bins=BINS)
    units, _ = np.histogram(confidence, np.linspace(0, 1, BINS + 1))
    return float(np.abs(np.subtract(*curve)) @ units[units > 0] / len(right))


def by_sklearn(truth: Integers, probability: Floats) -> dict[str, float]:
    called = probability.argmax(axis=1)
    areas = {
        f"auc_{name}": roc_auc_score(truth == k, probability[:, k])
        for k, name in enumerate(CLASSES)
    }
    return {
        "accuracy": accuracy_score(truth, called),
        "macro_auc": roc_auc_score(truth, probability, multi_class="ovr", labels=[0, 1, 2]),
        **areas,
        "kappa": cohen_kappa_score(truth, called, weights="quadratic"),
        "sensitivity_osteoporosis": recall_score(truth == 2, called == 2),
        "specificity_osteoporosis": recall_score(truth != 2, called != 2),
        "sensitivity_low_bone_mass": recall_score(truth > 0, called > 0),
        "specificity_low_bone_mass": recall_score(truth == 0, called == 0),
        "ece": calibration_error(called == truth, probability.max(axis=1)),
        "brier": ((probability - np.eye(3)[truth]) ** 2).sum(axis=1).mean(),
    }


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_equals_scikit_learn(seed: int) -> None:
    truth, probability, patient = sample(seed)
    values = grade(truth, probability, patient, np.ones((1, PATIENTS)))
    expected = by_sklearn(truth, probability)
    assert set(values) == set(expected) == set(GRADES)
    for name, value in values.items():
        np.testing.assert_allclose(value[0], expected[name], atol=1e-12, err_msg=name)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_a_resample_equals_units_repeated(seed: int) -> None:
    truth, probability, patient = sample(seed)
    drawn = weights(PATIENTS, 4, seed)
    at_once = grade(truth, probability, patient, drawn)
    for row, counts in enumerate(drawn):
        again = np.repeat(np.arange(len(truth)), counts[patient].astype(int))
        if len(np.unique(truth[again])) < 3:
            assert np.isnan(at_once["macro_auc"][row])
            continue
        expected = by_sklearn(truth[again], probability[again])
        for name, value in expected.items():
            np.testing.assert_allclose(at_once[name][row], value, atol=1e-12, err_msg=name)


def test_brier_of_two_classes_is_twice_scikit_learns() -> None:
    truth, chance = np.array([0, 1, 1, 0]), np.array([0.2, 0.7, 0.4, 0.1])
    probability = np.column_stack([1 - chance, chance, np.zeros(4)])
    value = grade(truth, probability, np.zeros(4, int), np.ones((1, 1)))["brier"][0]
    assert value == pytest.approx(2 * brier_score_loss(truth, chance))


def test_confusion_equals_scikit_learn() -> None:
    truth, probability, patient = sample(4)
    everyone = np.ones(len(truth), dtype=bool)
    table = confusion(Units(truth, probability, patient, everyone), PATIENTS).sum(axis=0)
    expected = confusion_matrix(truth, probability.argmax(axis=1))
    np.testing.assert_array_equal(table, np.column_stack([expected, np.zeros(3, int)]))


def test_no_answer_is_wrong_everywhere() -> None:
    truth = np.array([0, 1, 2, 0, 1, 2])
    probability = np.vstack([np.eye(3), np.full((3, 3), 1 / 3)])
    answered = np.arange(6) < 3
    values = grade(truth, probability, np.zeros(6, int), np.ones((1, 1)), answered=answered)
    for name in ("accuracy", *(name for name in GRADES if name.startswith(("sens", "spec")))):
        assert values[name][0] == 0.5, name
    # Observed cost 4 + 1 + 4; expected by the margins: 3 classes called once each, 3 unanswered.
    expected = 2 * ((0 + 1 + 4) + (1 + 0 + 1) + (4 + 1 + 0)) / 6 + 3 * 2 * (4 + 1 + 4) / 6
    assert values["kappa"][0] == pytest.approx(1 - 9 / expected)
    assert values["ece"][0] == pytest.approx(3 / 6 * (1 / 3))


def test_nothing_answered_and_nothing_there() -> None:
    even = np.full((2, 3), 1 / 3)
    alone = np.zeros(2, int)
    values = grade(np.array([0, 2]), even, alone, np.ones((1, 1)), answered=np.zeros(2, bool))
    assert values["accuracy"][0] == values["kappa"][0] == 0
    assert values["auc_normal"][0] == 0.5
    nothing = grade(np.empty(0, int), np.empty((0, 3)), np.empty(0, int), np.ones((2, 3)))
    assert all(np.isnan(value).all() for value in nothing.values())


def test_one_class_has_neither_area_nor_kappa() -> None:
    values = grade(np.zeros(3, int), np.eye(3)[[0, 0, 0]], np.zeros(3, int), np.ones((1, 1)))
    assert values["accuracy"][0] == 1
    undefined = {name for name, value in values.items() if np.isnan(value[0])}
    assert {"macro_auc", "kappa", "sensitivity_osteoporosis"} <= undefined


def test_reliability_adds_up() -> None:
    truth, probability, patient = sample(9)
    units = Units(truth, probability, patient, np.ones(len(truth), dtype=bool))
    count, confidence, right = reliability(units, PATIENTS)
    np.testing.assert_array_equal(count.sum(axis=1), np.bincount(patient, minlength=PATIENTS))
    assert confidence.sum() == pytest.approx(probability.max(axis=1).sum())
    assert right.sum() == (probability.argmax(axis=1) == truth).sum()
