import numpy as np
import pytest
from hypothesis import given, settings
from support.random_scenes import make_scene, once, scenes

from dsnet.evaluate.metrics import (
    DEFINITIONS,
    box_confusion,
    limits,
    operating_counts,
    statistics,
)
from dsnet.evaluate.scene import Scene

QUICK = settings(deadline=None, max_examples=30)
HERE, THERE, AWAY = [0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]
NORMAL, OSTEOPENIA, OSTEOPOROSIS = range(3)


@pytest.fixture
def scene() -> Scene:
    """Three patients with one image each; the outcome of each box is the comment after it."""
    return make_scene(
        [0, 1, 2],
        [
            (0, HERE, NORMAL, 0),  # localised, right
            (1, HERE, OSTEOPENIA, 0),  # localised, class osteoporosis
            (2, HERE, OSTEOPOROSIS, 0),  # localised, but no class reaches 0.5
            (2, THERE, OSTEOPOROSIS, 1),  # missed
        ],
        [
            (0, HERE, NORMAL, [0.1, 0.8, 0.05, 0.05]),
            (0, HERE, OSTEOPENIA, [0.1, 0.8, 0.05, 0.05]),  # same proposal, its other class
            (0, AWAY, NORMAL, [0.3, 0.6, 0.1, 0.0]),  # false
            (1, HERE, OSTEOPOROSIS, [0.2, 0.1, 0.1, 0.6]),
            (2, HERE, OSTEOPOROSIS, [0.2, 0.2, 0.2, 0.4]),
        ],
    )


def evaluate(scene: Scene, iou: float = 0.5, score: float = 0.5) -> dict[str, float]:
    values = statistics(scene, once(scene), iou=iou, score=score)
    return {name: value[0] for name, value in values.items()}


def test_every_statistic_is_defined_in_words(scene: Scene) -> None:
    assert set(evaluate(scene)) == set(DEFINITIONS)


def test_operating_point_by_hand(scene: Scene) -> None:
    counts = operating_counts(scene, 0.5, 0.5)
    assert counts["tp"].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert counts["fp"].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert counts["fn"].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 2]]
    values = evaluate(scene)
    assert values["recall"] == values["accuracy_literal"] == 1 / 4
    assert values["accuracy"] == 1 / (1 + 2 + 3)
    # Precision 1/2, never predicted, 0/1.
    assert values["paper_map"] == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert values["precision_osteopenia"] == 0
    assert values["recall_normal"] == 1


def test_a_lower_score_admits_more(scene: Scene) -> None:
    assert evaluate(scene, score=0.4)["recall"] == 2 / 4


def test_confusion_by_hand(scene: Scene) -> None:
    assert box_confusion(scene, 0.5, 0.5).sum(axis=0).tolist() == [
        [1, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 1, 1],
        [1, 0, 0, 0],
    ]
    values = evaluate(scene)
    assert values["box_recall"] == 3 / 4
    assert values["localised_accuracy"] == 2 / 3


def test_box_alone_by_hand(scene: Scene) -> None:
    # Scores 0.9 hit, 0.8 hit, 0.8 hit, 0.7 false, of 4: the second class of a proposal is no box.
    assert evaluate(scene)["box_ap50"] == pytest.approx(76 / 101)


def test_overlap_decides_at_the_threshold() -> None:
    half = [0, 0, 10, 5]
    scene = make_scene([0], [(0, HERE, NORMAL, 0)], [(0, half, NORMAL, [0, 1, 0, 0])])
    assert evaluate(scene)["recall"] == 1
    assert evaluate(scene, iou=0.51)["recall"] == 0
    assert evaluate(scene, iou=0.51)["map"] == pytest.approx(1)  # the headline stays at 0.5


def test_one_detection_to_one_ground_truth() -> None:
    twice = [(0, HERE, NORMAL, [0, 1, 0, 0]), (0, HERE, NORMAL, [0.1, 0.9, 0, 0])]
    values = evaluate(make_scene([0], [(0, HERE, NORMAL, 0)], twice))
    assert values["recall"] == 1
    assert values["accuracy"] == 1 / 2


def test_nothing_detected() -> None:
    values = evaluate(make_scene([0], [(0, HERE, NORMAL, 0)], []))
    assert values["map"] == values["recall"] == values["accuracy"] == values["box_ap50"] == 0
    assert np.isnan(values["localised_accuracy"])


@QUICK
@given(scenes())
def test_counts_reconcile(scene: Scene) -> None:
    counts = operating_counts(scene, 0.5, 0.5)
    confident = (scene.detections.score >= 0.5).sum()
    boxes = (scene.truth.label >= 0).sum()
    assert all((table >= 0).all() for table in counts.values())
    assert (counts["tp"] + counts["fp"]).sum() == confident
    assert (counts["tp"] + counts["fn"]).sum() == boxes
    table = box_confusion(scene, 0.5, 0.5)
    assert (table >= 0).all()
    assert table[:, :-1].sum() == boxes
    assert table[:, :, :-1].sum() == (scene.objects.score >= 0.5).sum()


@QUICK
@given(scenes())
def test_statistics_lie_in_their_interval(scene: Scene) -> None:
    for name, value in evaluate(scene).items():
        low, high = limits(name)
        assert np.isnan(value) or low <= value <= high + 1e-12, name
    assert limits("level_kappa") == (-1, 1)
