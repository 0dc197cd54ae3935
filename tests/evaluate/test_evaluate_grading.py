from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    recall_score,
    roc_auc_score,
)
from support.random_scenes import make_scene, once, scenes

from dsnet.config.evaluate import PatientLabel
from dsnet.evaluate.grading import (
    GRADES,
    UNITS,
    Units,
    class_vectors,
    confusion,
    grade,
    graded_units,
    levels,
    localised_boxes,
    patients,
    pool,
)
from dsnet.evaluate.intervals import bootstrap_weights
from dsnet.evaluate.metrics import box_confusion, statistics
from dsnet.evaluate.scene import Floats, Integers, Scene
from dsnet.schemas import CLASSES

HERE, THERE, AWAY = [0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]
RULES = get_args(PatientLabel)
PATIENTS = 6

Sample = tuple[Integers, Floats, Integers]


def units_of(truth: Integers, probability: Floats, patient: Integers | None = None) -> Units:
    """Return units that all have an answer, of one patient unless given."""
    of = np.zeros(len(truth), int) if patient is None else patient
    return Units(truth, probability, of, np.ones(len(truth), bool))


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


def by_sklearn(truth: Integers, probability: Floats) -> dict[str, float]:
    predicted = probability.argmax(axis=1)
    areas = {
        f"auc_{name}": roc_auc_score(truth == k, probability[:, k])
        for k, name in enumerate(CLASSES)
    }
    return {
        "accuracy": accuracy_score(truth, predicted),
        "macro_auc": roc_auc_score(truth, probability, multi_class="ovr", labels=[0, 1, 2]),
        **areas,
        "kappa": cohen_kappa_score(truth, predicted, weights="quadratic"),
        "sensitivity_osteoporosis": recall_score(truth == 2, predicted == 2),
        "specificity_osteoporosis": recall_score(truth != 2, predicted != 2),
        "sensitivity_low_bone_mass": recall_score(truth > 0, predicted > 0),
        "specificity_low_bone_mass": recall_score(truth == 0, predicted == 0),
    }


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_equals_scikit_learn(seed: int) -> None:
    truth, probability, patient = sample(seed)
    values = grade(units_of(truth, probability, patient), np.ones((1, PATIENTS)))
    expected = by_sklearn(truth, probability)
    assert set(values) == set(expected) == set(GRADES)
    for name, value in values.items():
        np.testing.assert_allclose(value[0], expected[name], atol=1e-12, err_msg=name)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_a_resample_equals_units_repeated(seed: int) -> None:
    truth, probability, patient = sample(seed)
    weights = bootstrap_weights(PATIENTS, 4, seed)
    at_once = grade(units_of(truth, probability, patient), weights)
    for row, counts in enumerate(weights):
        again = np.repeat(np.arange(len(truth)), counts[patient].astype(int))
        if len(np.unique(truth[again])) < 3:
            assert np.isnan(at_once["macro_auc"][row])
            continue
        expected = by_sklearn(truth[again], probability[again])
        for name, value in expected.items():
            np.testing.assert_allclose(at_once[name][row], value, atol=1e-12, err_msg=name)


def test_confusion_equals_scikit_learn() -> None:
    truth, probability, patient = sample(4)
    table = confusion(units_of(truth, probability, patient), PATIENTS).sum(axis=0)
    expected = confusion_matrix(truth, probability.argmax(axis=1))
    np.testing.assert_array_equal(table, np.column_stack([expected, np.zeros(3, int)]))


def test_no_answer_is_wrong_everywhere() -> None:
    truth = np.array([0, 1, 2, 0, 1, 2])
    probability = np.vstack([np.eye(3), np.full((3, 3), 1 / 3)])
    answered = np.arange(6) < 3
    units = Units(truth, probability, np.zeros(6, int), answered)
    values = grade(units, np.ones((1, 1)))
    for name in ("accuracy", *(name for name in GRADES if name.startswith(("sens", "spec")))):
        assert values[name][0] == 0.5, name
    # Observed cost 4 + 1 + 4; expected by the margins: 3 classes predicted once each, 3 unanswered.
    expected = 2 * ((0 + 1 + 4) + (1 + 0 + 1) + (4 + 1 + 0)) / 6 + 3 * 2 * (4 + 1 + 4) / 6
    assert values["kappa"][0] == pytest.approx(1 - 9 / expected)


def test_nothing_answered_and_nothing_there() -> None:
    even = np.full((2, 3), 1 / 3)
    units = Units(np.array([0, 2]), even, np.zeros(2, int), np.zeros(2, bool))
    values = grade(units, np.ones((1, 1)))
    assert values["accuracy"][0] == values["kappa"][0] == 0
    assert values["auc_normal"][0] == 0.5
    nothing = grade(units_of(np.empty(0, int), np.empty((0, 3))), np.ones((2, 3)))
    assert all(np.isnan(value).all() for value in nothing.values())


def test_one_class_has_neither_area_nor_kappa() -> None:
    values = grade(units_of(np.zeros(3, int), np.eye(3)[[0, 0, 0]]), np.ones((1, 1)))
    assert values["accuracy"][0] == 1
    undefined = {name for name, value in values.items() if np.isnan(value[0])}
    assert {"macro_auc", "kappa", "sensitivity_osteoporosis"} <= undefined


@pytest.fixture
def scene() -> Scene:
    """Two patients: L1 on two slices and L3 missed; nothing localised of the other."""
    return make_scene(
        [0, 0, 1],
        [(0, HERE, 1, 0), (1, HERE, 1, 0), (1, THERE, 2, 2), (2, HERE, 0, 1)],
        [
            (0, HERE, 0, [0.1, 0.6, 0.3, 0.0]),
            (1, HERE, 2, [0.0, 0.1, 0.2, 0.7]),
            (1, AWAY, 1, [0.2, 0.0, 0.8, 0.0]),
            (2, HERE, 0, [0.6, 0.4, 0.0, 0.0]),
        ],
    )


def test_localised_boxes_have_the_class_vector_without_background(scene: Scene) -> None:
    units = localised_boxes(scene, iou=0.5, score=0.5)
    assert units.truth.tolist() == [1, 1]
    np.testing.assert_allclose(units.probability, [[2 / 3, 1 / 3, 0], [0.1, 0.2, 0.7]])
    assert units.patient.tolist() == [0, 0]


def test_levels_gather_slices_and_none_vanishes(scene: Scene) -> None:
    units = levels(scene, iou=0.5, score=0.5, rule="mean_probability")
    assert units.truth.tolist() == [1, 2, 0]
    assert units.patient.tolist() == [0, 0, 1]
    assert units.answered.tolist() == [True, False, False]
    np.testing.assert_allclose(units.probability[0], [(2 / 3 + 0.1) / 2, (1 / 3 + 0.2) / 2, 0.35])
    np.testing.assert_allclose(units.probability[1:], 1 / 3)


def test_patients_count_false_boxes_and_have_their_most_severe_class(scene: Scene) -> None:
    units = patients(scene, iou=0.5, score=0.5, rule="mean_probability")
    assert units.truth.tolist() == [2, 0]
    assert units.answered.tolist() == [True, False]
    np.testing.assert_allclose(
        units.probability[0], [(2 / 3 + 0.1) / 3, (1 / 3 + 0.2 + 1) / 3, 0.7 / 3]
    )


def test_shares_answered(scene: Scene) -> None:
    values = statistics(scene, once(scene), iou=0.5, score=0.5)
    assert values["level_answered"][0] == pytest.approx(1 / 3)
    assert values["patient_answered"][0] == 1 / 2
    assert values["level_accuracy"][0] == 0  # the mean of L1 leans to normal


def test_rules_by_hand() -> None:
    vectors = np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.0, 0.1, 0.9], [0.5, 0.5, 0.0]])
    group = np.array([1, 1, 1, 0])
    expected = {
        "mean_probability": [0.7 / 3, 0.6 / 3, 1.7 / 3],
        "majority": [(1 + 0.7 / 3) / 4, 0.2 / 4, (2 + 1.7 / 3) / 4],
        "worst": [0.0, 0.1, 0.9],
    }
    for rule in RULES:
        probability, answered = pool(vectors, group, 3, rule)
        np.testing.assert_allclose(probability[1], expected[rule], err_msg=rule)
        np.testing.assert_allclose(probability[2], 1 / 3)
        assert answered.tolist() == [True, True, False]


def test_an_even_vote_is_settled_by_the_mean() -> None:
    vectors = np.array([[0.6, 0.0, 0.4], [0.0, 0.1, 0.9]])
    probability, _ = pool(vectors, np.array([0, 0]), 1, "majority")
    assert probability[0].argmax() == 2


def test_the_worst_is_the_surest_of_the_most_severe() -> None:
    vectors = np.array([[1.0, 0, 0], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6], [0.1, 0.9, 0.0]])
    probability, _ = pool(vectors, np.zeros(4, int), 1, "worst")
    assert probability[0].tolist() == [0.2, 0.2, 0.6]


def test_all_background_is_even() -> None:
    np.testing.assert_allclose(class_vectors(np.array([[1.0, 0, 0, 0]])), 1 / 3)


@settings(deadline=None, max_examples=30)
@given(scenes(), st.sampled_from(RULES))
def test_no_unit_vanishes_and_vectors_sum_to_one(scene: Scene, rule: PatientLabel) -> None:
    units = graded_units(scene, iou=0.5, score=0.5, rule=rule)
    assert set(units) == set(UNITS)
    image, slot = np.nonzero(scene.truth.label >= 0)
    levels_there = {
        (scene.patient[i], scene.truth.level[i, s]) for i, s in zip(image, slot, strict=True)
    }
    assert len(units["level"].truth) == len(levels_there)
    assert len(units["patient"].truth) == len({patient for patient, _ in levels_there})
    for each in units.values():
        np.testing.assert_allclose(each.probability.sum(axis=1), 1)
        np.testing.assert_allclose(each.probability[~each.answered], 1 / 3)


@settings(deadline=None, max_examples=30)
@given(scenes())
def test_accuracy_of_localised_boxes_is_that_of_the_confusion_matrix(scene: Scene) -> None:
    values = statistics(scene, once(scene), iou=0.5, score=0.5)
    table = box_confusion(scene, 0.5, 0.5).sum(axis=0)[:3, :3]
    expected = np.trace(table) / table.sum() if table.sum() else np.nan
    np.testing.assert_allclose(values["localised_accuracy"], expected)
