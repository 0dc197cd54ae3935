import numpy as np
import pytest
from hypothesis import given, settings
from support.coco_reference import coco_ap
from support.random_scenes import DetectionRow, make_scene, once, scenes

from dsnet.evaluate.average_precision import (
    COCO_IOU,
    ap50,
    average_precision,
    match_by_class,
    mean_defined,
    rank,
    ranking,
)
from dsnet.evaluate.metrics import statistics
from dsnet.evaluate.scene import Detections, Floats, Scene, match


def our_ap(scene: Scene) -> Floats:
    """AP by threshold and class through the functions under test."""
    detections = scene.detections
    hits = match_by_class(scene, COCO_IOU) >= 0
    table = np.empty((len(COCO_IOU), 3))
    for k in range(3):
        rows = detections.label == k
        for t, hit in enumerate(hits):
            ranked = ranking(scene, detections.take(rows), hit[rows], scene.truth.label == k)
            table[t, k] = ranked.average_precision(once(scene))[0][0]
    return table


@settings(deadline=None, max_examples=50)
@given(scenes())
def test_equals_pycocotools(scene: Scene) -> None:
    reference = coco_ap(scene, scene.detections, by_class=True)
    np.testing.assert_allclose(our_ap(scene), reference, atol=1e-9)
    values = statistics(scene, once(scene), iou=0.5, score=0.5)
    np.testing.assert_allclose(values["map"], mean_defined(reference[0]), atol=1e-9)
    assert ap50(scene, once(scene))["map"] == pytest.approx(values["map"], abs=0, nan_ok=True)
    np.testing.assert_allclose(values["map_50_95"], mean_defined(reference.ravel()), atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(scenes())
def test_box_alone_equals_pycocotools(scene: Scene) -> None:
    objects = scene.objects
    reference = coco_ap(scene, objects, by_class=False)
    hits = match(scene.overlap(objects), objects.image, COCO_IOU) >= 0
    ours = [
        ranking(scene, objects, hit, scene.truth.label >= 0).average_precision(once(scene))[0][0]
        for hit in hits
    ]
    np.testing.assert_allclose(ours, reference[:, 0], atol=1e-9)
    box_ap50 = ap50(scene, once(scene))["box_ap50"]
    np.testing.assert_allclose(box_ap50, reference[0, 0], atol=1e-9)


def test_detections_beyond_the_hundredth_do_not_count() -> None:
    box, away = [0, 0, 10, 10], [20, 20, 30, 30]
    crowd = [(0, away, 0, [0.5 - n / 1000, 0.5 + n / 1000, 0, 0]) for n in range(150)]
    late = (1, box, 0, [0.9, 0.1, 0, 0])
    scene = make_scene([0, 0], [(0, box, 0, 0), (1, box, 0, 0)], [*crowd, late])
    reference = coco_ap(scene, _every(*crowd, late), by_class=True)
    assert our_ap(scene)[0, 0] == pytest.approx(51 / 101 / 101)
    np.testing.assert_allclose(our_ap(scene), reference, atol=1e-9)


def _every(*rows: DetectionRow) -> Detections:
    """Return detections as they come, not cut to a hundred."""
    return Detections(
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows], dtype=np.float64),
        np.array([row[2] for row in rows]),
        np.array([row[3][row[2] + 1] for row in rows]),
        np.array([row[3] for row in rows]),
    )


def test_by_hand() -> None:
    # Hit, false, hit of 4 ground truths: precisions 1 and 2/3 at recalls 0.25 and 0.5.
    coco, voc = average_precision(np.array([[1.0, 2]]), np.array([[1.0, 3]]), np.array([4.0]))
    assert coco[0] == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)
    assert voc[0] == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)


def test_interpolation_lifts_a_low_start() -> None:
    # False, hit, hit: precision 1/2 then 2/3, which counts from recall 0.
    ranked = rank(
        np.array([0.7, 0.9, 0.8]), np.array([True, False, True]), np.zeros(3, int), np.array([2.0])
    )
    coco, voc = ranked.average_precision(np.ones((1, 1)))
    assert coco[0] == pytest.approx(2 / 3)
    assert voc[0] == pytest.approx(2 / 3)


def test_without_detections_and_without_ground_truth() -> None:
    coco, voc = average_precision(np.empty((2, 0)), np.empty((2, 0)), np.array([3.0, 0.0]))
    np.testing.assert_array_equal(coco, [0, np.nan])
    np.testing.assert_array_equal(voc, [0, np.nan])
    assert np.isnan(mean_defined(np.full((3, 1), np.nan))[0])


def test_class_without_ground_truth_is_left_out_of_the_mean() -> None:
    box = [0, 0, 10, 10]
    scene = make_scene(
        [0], [(0, box, 1, 0)], [(0, box, 1, [0, 0, 1, 0]), (0, box, 2, [0, 0, 0, 1])]
    )
    values = statistics(scene, once(scene), iou=0.5, score=0.5)
    assert values["map"][0] == pytest.approx(1)
    assert np.isnan(values["ap_osteoporosis"][0])
