from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_scenes import make_scene, once, scenes

from dsnet.config.evaluate import PatientLabel
from dsnet.evaluate.metrics import UNITS, judged_units, statistics
from dsnet.evaluate.scene import Scene
from dsnet.evaluate.units import class_vectors, found, levels, patients, pool

HERE, THERE, AWAY = [0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]
RULES = get_args(PatientLabel)
rules = st.sampled_from(RULES)


@pytest.fixture
def scene() -> Scene:
    """Two patients: L1 on two slices and L3 unseen; nothing found of the other."""
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


def test_found_boxes_have_the_class_vector_without_background(scene: Scene) -> None:
    units = found(scene, iou=0.5, score=0.5)
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
    wanted = {
        "mean_probability": [0.7 / 3, 0.6 / 3, 1.7 / 3],
        "majority": [(1 + 0.7 / 3) / 4, 0.2 / 4, (2 + 1.7 / 3) / 4],
        "worst": [0.0, 0.1, 0.9],
    }
    for rule in RULES:
        probability, answered = pool(vectors, group, 3, rule)
        np.testing.assert_allclose(probability[1], wanted[rule], err_msg=rule)
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
@given(scenes(), rules)
def test_no_unit_vanishes_and_vectors_sum_to_one(scene: Scene, rule: PatientLabel) -> None:
    judged = judged_units(scene, iou=0.5, score=0.5, rule=rule)
    assert set(judged) == set(UNITS)
    image, slot = np.nonzero(scene.truth.label >= 0)
    levels_there = {
        (scene.patient[i], scene.truth.level[i, s]) for i, s in zip(image, slot, strict=True)
    }
    assert len(judged["level"].truth) == len(levels_there)
    assert len(judged["patient"].truth) == len({patient for patient, _ in levels_there})
    for units in judged.values():
        np.testing.assert_allclose(units.probability.sum(axis=1), 1)
        np.testing.assert_allclose(units.probability[~units.answered], 1 / 3)


@settings(deadline=None, max_examples=30)
@given(scenes())
def test_accuracy_of_found_boxes_is_that_among_localised(scene: Scene) -> None:
    values = statistics(scene, once(scene), iou=0.5, score=0.5)
    np.testing.assert_allclose(values["found_accuracy"], values["accuracy_localised"])
