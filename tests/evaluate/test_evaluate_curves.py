import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.metrics import auc, roc_curve
from support.coco_reference import coco_ap
from support.random_scenes import make_scene, once, random_scene, scenes

from dsnet.evaluate.curves import MOST_POINTS, calibration, froc, precision_recall, roc
from dsnet.evaluate.grading import Units, calibration_error
from dsnet.evaluate.metrics import statistics
from dsnet.evaluate.scene import Scene
from dsnet.schemas import CLASSES

HERE, THERE, AWAY = [0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]


def graded(count: int, step: float = 0.0) -> Units:
    rng = np.random.default_rng(count)
    probability = rng.dirichlet([1, 1, 1], size=count)
    if step:
        probability = np.round(probability / step) * step
    everyone = np.ones(count, dtype=bool)
    return Units(rng.integers(3, size=count), probability, np.zeros(count, int), everyone)


@settings(deadline=None, max_examples=20)
@given(scenes())
def test_mean_of_the_precision_is_average_precision(scene: Scene) -> None:
    reference = coco_ap(scene, scene.detections, by_class=True)[0]
    for expected, curve in zip(reference, precision_recall(scene).values(), strict=True):
        assert (curve is None) == np.isnan(expected)
        if curve is not None:
            assert len(curve["recall"]) == 101
            assert np.mean(curve["precision"]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("step", [0.0, 0.1])
def test_roc_equals_scikit_learn(step: float) -> None:
    units = graded(60, step)
    for k, name in enumerate(CLASSES):
        curve = roc(units)[name]
        assert curve is not None
        fpr, tpr, _ = roc_curve(units.truth == k, units.probability[:, k], drop_intermediate=False)
        np.testing.assert_allclose(curve["fpr"], fpr, atol=1e-6)
        np.testing.assert_allclose(curve["tpr"], tpr, atol=1e-6)


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    units = graded(3000)
    curve = roc(units)["normal"]
    assert curve is not None
    assert len(curve["fpr"]) == len(curve["tpr"]) == MOST_POINTS
    assert (curve["fpr"][0], curve["tpr"][0]) == (0, 0)
    assert (curve["fpr"][-1], curve["tpr"][-1]) == (1, 1)
    exact = auc(*roc_curve(units.truth == 0, units.probability[:, 0])[:2])
    assert auc(curve["fpr"], curve["tpr"]) == pytest.approx(exact, abs=0.005)


def test_no_roc_of_a_class_that_does_not_occur() -> None:
    units = Units(np.zeros(2, int), np.eye(3)[:2], np.zeros(2, int), np.ones(2, bool))
    assert list(roc(units).values()) == [None, None, None]


def test_calibration_curve_gives_the_calibration_error() -> None:
    units = graded(40)
    curve = calibration(units)
    distance = sum(
        count * abs(confidence - accuracy)
        for count, confidence, accuracy in zip(
            curve["count"], curve["confidence"], curve["accuracy"], strict=True
        )
        if count
    )
    assert sum(curve["count"]) == 40
    assert distance / 40 == pytest.approx(calibration_error(units, np.ones((1, 1)))[0], abs=1e-6)
    assert curve["confidence"][0] is curve["accuracy"][0] is None  # of three, one has a third


def test_froc_by_hand() -> None:
    scene = make_scene(
        [0, 0, 1],
        [(0, HERE, 0, 0), (1, HERE, 0, 0), (2, HERE, 0, 0), (2, THERE, 0, 1)],
        [
            (0, HERE, 0, [0.1, 0.9, 0, 0]),  # L1 of the first patient
            (0, AWAY, 0, [0.2, 0.8, 0, 0]),  # false
            (1, HERE, 0, [0.3, 0.7, 0, 0]),  # L1 of the first patient again
            (2, HERE, 0, [0.4, 0.6, 0, 0]),  # L1 of the second
            (2, AWAY, 0, [0.5, 0.5, 0, 0]),  # false
        ],
    )
    curve = froc(scene, 0.5)
    assert curve["image"]["sensitivity"] == [0, 1 / 4, 2 / 4, 3 / 4, 3 / 4]
    np.testing.assert_allclose(
        curve["image"]["false_per_image"], [0, 0, 1 / 3, 1 / 3, 2 / 3], atol=1e-6
    )
    np.testing.assert_allclose(curve["patient"]["sensitivity"], [0, 1 / 3, 2 / 3, 2 / 3], atol=1e-6)
    assert curve["patient"]["false_per_patient"] == [0, 0, 0.5, 1]


def test_froc_with_nothing_detected() -> None:
    scene = make_scene([0], [(0, HERE, 0, 0)], [])
    assert froc(scene, 0.5)["image"] == {"false_per_image": [0], "sensitivity": [0]}


@settings(deadline=None, max_examples=20)
@given(scenes(most_detections=20))
def test_froc_rises_to_what_is_found_at_any_score(scene: Scene) -> None:
    curve = froc(scene, 0.5)
    for one in curve.values():
        for values in one.values():
            assert (np.diff(values) >= 0).all()
    if (scene.truth.label >= 0).any():
        found = statistics(scene, once(scene), iou=0.5, score=0.0)["box_recall"][0]
        assert curve["image"]["sensitivity"][-1] == pytest.approx(found, abs=1e-6)


def test_curves_do_not_outgrow_a_figure() -> None:
    scene = random_scene(seed=8, images=300, most_detections=12)
    for one in froc(scene, 0.1).values():
        assert {len(values) for values in one.values()} <= set(range(2, MOST_POINTS + 1))
