from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_scenes import make_scene, once, scenes, with_box_each

from dsnet.evaluate.grading import level_profiles
from dsnet.evaluate.intervals import MOST_UNDEFINED, bootstrap_weights, estimate
from dsnet.evaluate.metrics import chance, permutations_of, permuted_map, relabelled, statistics
from dsnet.evaluate.scene import Floats, Integers, Scene, Truth, rank_in_group


def resampled(scene: Scene, counts: Floats) -> Scene:
    """Return the scene that holds each patient as often as `counts` says, each time as another."""
    images = np.repeat(np.arange(len(scene.patient)), counts[scene.patient].astype(int))
    first = (counts.cumsum() - counts).astype(int)  # number of each patient's first copy
    truth = Truth(*(getattr(scene.truth, name)[images] for name in ("box", "label", "level")))
    rows = [np.flatnonzero(scene.detections.image == image) for image in images]
    detections = scene.detections.take(np.concatenate([np.empty(0, dtype=int), *rows]))
    copies = np.repeat(np.arange(len(images)), [len(of_image) for of_image in rows])
    return replace(
        scene,
        patient=first[scene.patient[images]] + rank_in_group(images),
        truth=truth,
        detections=replace(detections, image=copies),
        row=np.arange(len(images)),
    )


@settings(deadline=None, max_examples=25)
@given(scenes(most_detections=8, tied=False), st.integers(0, 1000))
def test_equals_resampling_by_hand(scene: Scene, seed: int) -> None:
    weights = bootstrap_weights(len(scene.patient_keys), 5, seed)
    at_once = statistics(scene, weights, iou=0.5, score=0.5)
    for row, counts in enumerate(weights):
        copy = resampled(scene, counts)
        single = statistics(copy, once(scene), iou=0.5, score=0.5)
        for name, value in single.items():
            # Newton's method stops before the last digits.
            atol = 1e-6 if "calibration_" in name else 1e-10 if "debiased" in name else 1e-12
            np.testing.assert_allclose(at_once[name][row], value[0], atol=atol, err_msg=name)


def test_weights_are_resamples_with_replacement() -> None:
    weights = bootstrap_weights(6, 200, seed=3)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == 6).all()
    np.testing.assert_array_equal(weights, bootstrap_weights(6, 200, seed=3))
    assert (weights != bootstrap_weights(6, 200, seed=4)).any()


def test_estimate_is_the_percentile_interval() -> None:
    values = np.concatenate([[0.4], np.arange(101) / 100, [np.nan]])
    assert estimate(values) == {"value": 0.4, "low": 0.025, "high": 0.975}


def test_undefined_is_none() -> None:
    assert estimate(np.full(5, np.nan)) == {"value": None, "low": None, "high": None}


def test_no_interval_where_few_resamples_define_the_statistic() -> None:
    values = np.full(201, 0.5)
    values[1 : 1 + int(200 * MOST_UNDEFINED)] = np.nan
    assert estimate(values)["low"] == 0.5
    values[-1] = np.nan
    assert estimate(values) == {"value": 0.5, "low": None, "high": None}


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
def test_equals_relabelling_and_evaluating_again(scene: Scene, seed: int) -> None:
    scene = with_box_each(scene, seed)
    orders = permutations_of(len(scene.patient_keys), 6, seed)
    fast = permuted_map(scene, orders)
    for value, labels, order in zip(fast, relabelled(scene, orders), orders, strict=True):
        literal = relabelled_by_hand(scene, order)
        np.testing.assert_array_equal(labels, literal)
        again = replace(scene, truth=replace(scene.truth, label=literal))
        slow = statistics(again, once(again), iou=0.5, score=0.5)
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


def test_a_level_with_two_labels_takes_the_first() -> None:
    profile = level_profiles(
        np.array([0, 0, 0, 1]), np.array([1, 1, 3, 0]), np.array([2, 0, 1, 0]), 2
    )
    assert profile.tolist() == [[2, 2, 2, 1], [0, 0, 0, 0]]


def test_every_row_is_a_permutation() -> None:
    orders = permutations_of(7, 50, seed=1)
    assert (np.sort(orders, axis=1) == np.arange(7)).all()
    np.testing.assert_array_equal(orders, permutations_of(7, 50, seed=1))
    assert len({tuple(row) for row in orders}) > 40


def test_chance_of_a_perfect_detector() -> None:
    label = [0, 1, 2] * 6
    sure = np.eye(4)[1:]
    scene = make_scene(
        list(range(18)),
        [(image, HERE, k, 0) for image, k in enumerate(label)],
        [(image, HERE, k, sure[k]) for image, k in enumerate(label)],
    )
    permuted = permuted_map(scene, permutations_of(18, 400, seed=0))
    verdict = chance(permuted, 1.0)
    assert verdict["above_chance"] is True
    assert verdict["p_value"] == pytest.approx(1 / 401, abs=1e-8)
    assert 0.1 < verdict["mean"] < verdict["p975"] < 0.7


def test_above_chance_is_what_few_permutations_reach() -> None:
    permuted = np.arange(199) / 200
    verdicts = [chance(permuted, value) for value in (0.975, 0.97, 0.5)]
    assert [verdict["p_value"] for verdict in verdicts] == [0.025, 0.03, 0.5]
    assert [verdict["above_chance"] for verdict in verdicts] == [True, False, False]
