from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_scenes import make_scene, once, scenes, with_box_each

from dsnet.evaluate.matching import Integers
from dsnet.evaluate.metrics import statistics
from dsnet.evaluate.permutation import chance, draw, permuted_map, relabelled
from dsnet.evaluate.scene import Scene

HERE, THERE = [0, 0, 10, 10], [20, 20, 30, 30]


def relabelled_by_hand(scene: Scene, order: Integers) -> Integers:
    profiles: list[dict[int, int]] = [{} for _ in scene.patient_keys]
    for image, patient in enumerate(scene.patient):
        for level, label in zip(scene.truth.level[image], scene.truth.label[image], strict=True):
            if label >= 0:
                profiles[patient].setdefault(level, label)
    labels = scene.truth.label.copy()
    for image, slot in zip(*np.nonzero(labels >= 0), strict=True):
        profile = profiles[order[scene.patient[image]]]
        wanted = scene.truth.level[image, slot]
        nearest = min(profile, key=lambda level, wanted=wanted: (abs(level - wanted), level))
        labels[image, slot] = profile[nearest]
    return labels


@settings(deadline=None, max_examples=40)
@given(scenes(), st.integers(0, 1000))
def test_equals_relabelling_and_judging_anew(scene: Scene, seed: int) -> None:
    scene = with_box_each(scene, seed)
    orders = draw(len(scene.patient_keys), 6, seed)
    fast = permuted_map(scene, orders)
    for value, labels, order in zip(fast, relabelled(scene, orders), orders, strict=True):
        literal = relabelled_by_hand(scene, order)
        np.testing.assert_array_equal(labels, literal)
        anew = replace(scene, truth=replace(scene.truth, label=literal))
        slow = statistics(anew, once(anew), iou=0.5, score=0.5)
        np.testing.assert_allclose(value, slow["map"][0], atol=1e-12)


def test_matching_as_if_all_boxes_had_the_class_would_be_wrong() -> None:
    # The detection overlaps the first box more, so "as if both were osteopenia" it would take that
    # one; under the true labels only the second is osteopenia, and it takes the second.
    first, second, between = [0, 0, 10, 10], [4, 0, 14, 10], [1.5, 0, 11.5, 10]
    scene = make_scene([0], [(0, first, 0, 0), (0, second, 1, 1)], [(0, between, 1, [0, 0, 1, 0])])
    assert permuted_map(scene, np.array([[0]]))[0] == pytest.approx(1 / 2)


def test_profile_moves_as_a_whole() -> None:
    scene = make_scene(
        [0, 1], [(0, HERE, 0, 0), (0, THERE, 1, 1), (1, HERE, 2, 0), (1, THERE, 2, 3)], []
    )
    swapped = relabelled(scene, np.array([[1, 0]]))[0]
    # L4 takes the class of the nearest level of the other patient, L2.
    assert swapped.tolist() == [[2, 2], [0, 1]]


def test_draws_are_permutations() -> None:
    drawn = draw(7, 50, seed=1)
    assert (np.sort(drawn, axis=1) == np.arange(7)).all()
    np.testing.assert_array_equal(drawn, draw(7, 50, seed=1))
    assert len({tuple(row) for row in drawn}) > 40


def test_chance_of_a_perfect_detector() -> None:
    label = [0, 1, 2] * 6
    sure = np.eye(4)[1:]
    scene = make_scene(
        list(range(18)),
        [(image, HERE, k, 0) for image, k in enumerate(label)],
        [(image, HERE, k, sure[k]) for image, k in enumerate(label)],
    )
    permuted = permuted_map(scene, draw(18, 400, seed=0))
    verdict = chance(permuted, np.ones(101))
    assert verdict["above_chance"] is True
    assert verdict["p_value"] == pytest.approx(1 / 401, abs=1e-8)
    assert 0.1 < verdict["mean"] < verdict["p975"] < 0.7
    assert chance(permuted, permuted)["above_chance"] is False
