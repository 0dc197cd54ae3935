from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, roc_curve
from support.coco_reference import coco_ap
from support.random_scenes import make_scene, once, random_scene, scenes

from dsnet.evaluate.calibration import calibration_error
from dsnet.evaluate.curves import (
    FPRS,
    MOST_POINTS,
    Curve,
    calibration_band,
    calibration_curve,
    froc,
    froc_bands,
    precision_recall,
    precision_recall_bands,
    roc,
    roc_bands,
)
from dsnet.evaluate.grading import Units
from dsnet.evaluate.intervals import bootstrap_weights
from dsnet.evaluate.metrics import statistics
from dsnet.evaluate.scene import Floats, Scene, Truth
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
    curve = calibration_curve(units)
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
def test_froc_rises_to_the_recall_at_any_score(scene: Scene) -> None:
    curve = froc(scene, 0.5)
    for one in curve.values():
        for values in one.values():
            assert (np.diff(values) >= 0).all()
    if (scene.truth.label >= 0).any():
        recall = statistics(scene, once(scene), iou=0.5, score=0.0)["box_recall"][0]
        assert curve["image"]["sensitivity"][-1] == pytest.approx(recall, abs=1e-6)


def test_curves_do_not_outgrow_a_figure() -> None:
    scene = random_scene(seed=8, images=300, most_detections=12)
    for one in froc(scene, 0.1).values():
        assert {len(values) for values in one.values()} <= set(range(2, MOST_POINTS + 1))


# Bands: with one resample, low and high are what is read from the curve of that resample.


def repeated(scene: Scene, counts: Floats) -> Scene:
    """Return the scene with each patient as often as `counts` says, each time as another one."""
    patients = [(patient, n) for patient, count in enumerate(counts) for n in range(int(count))]
    images = [
        (new, image)
        for image in range(len(scene.patient))
        for new, (patient, _) in enumerate(patients)
        if patient == scene.patient[image]
    ]
    old = np.array([image for _, image in images])
    rows = [np.flatnonzero(scene.detections.image == image) for image in old]
    detections = scene.detections.take(np.concatenate(rows))
    image = np.repeat(np.arange(len(old)), [len(one) for one in rows])
    truth = Truth(scene.truth.box[old], scene.truth.label[old], scene.truth.level[old])
    return Scene(
        np.array([new for new, _ in images]),
        tuple(f"P-{new:016x}" for new in range(len(patients))),
        truth,
        replace(detections, image=image),
        np.arange(len(old)),
    )


def one_resample(patients: int, seed: int) -> Floats:
    return bootstrap_weights(patients, 1, seed)[1:]


def read(band: Curve) -> list[float | None]:
    assert band["low"] == band["high"]
    return band["low"]


@settings(deadline=None, max_examples=30)
@given(scenes(tied=False), st.integers(0, 99))  # ties within an image: the copies would interleave
def test_precision_is_read_from_the_curve_of_the_resample(scene: Scene, seed: int) -> None:
    weights = one_resample(len(scene.patient_keys), seed)
    made = precision_recall_bands(scene, weights)
    for name, curve in precision_recall(repeated(scene, weights[0])).items():
        if curve is not None:
            np.testing.assert_allclose(read(made[name]), curve["precision"], atol=2e-6)
        elif made[name] is not None:  # the class is in the sample, but not in this resample
            assert set(read(made[name])) == {None}


@settings(deadline=None, max_examples=30)
@given(scenes(most_detections=20), st.integers(0, 99))
def test_froc_is_read_from_the_curve_of_the_resample(scene: Scene, seed: int) -> None:
    weights = one_resample(len(scene.patient_keys), seed)
    made = froc_bands(scene, 0.5, weights)
    again = repeated(scene, weights[0])
    if not (again.truth.label >= 0).any():
        assert set(read(made["image"])) == set(read(made["patient"])) == {None}
        return
    for unit, curve in froc(again, 0.5).items():
        false, sensitivity = (np.array(values) for values in curve.values())
        grid = np.array(made[unit][f"false_per_{unit}"])
        expected = [sensitivity[false <= x + 1e-6].max() for x in grid]
        np.testing.assert_allclose(read(made[unit]), expected, atol=2e-6)


@pytest.mark.parametrize("step", [0.0, 0.1])
def test_sensitivity_is_read_from_the_curve_of_the_resample(step: float) -> None:
    units = replace(graded(60, step), patient=np.arange(60) % 12)
    weights = one_resample(12, 5)
    rows = np.repeat(np.arange(60), weights[0][units.patient].astype(int))
    for k, name in enumerate(CLASSES):
        right, score = units.truth[rows] == k, units.probability[rows, k]
        fpr, tpr, _ = roc_curve(right, score, drop_intermediate=False)
        expected = [_above(fpr, tpr, x) for x in FPRS]
        np.testing.assert_allclose(read(roc_bands(units, weights)[name]), expected, atol=2e-6)


def _above(fpr: Floats, tpr: Floats, x: float) -> float:
    """Return the highest point of a polygon at `x`."""
    last = np.flatnonzero(fpr <= x + 1e-9)[-1]
    if abs(fpr[last] - x) < 1e-9:
        return float(tpr[last])
    share = (x - fpr[last]) / (fpr[last + 1] - fpr[last])
    return float(tpr[last] + share * (tpr[last + 1] - tpr[last]))


def test_accuracy_of_a_bin_is_that_of_the_resample() -> None:
    units = replace(graded(60), patient=np.arange(60) % 12)
    weights = one_resample(12, 5)
    rows = np.repeat(np.arange(60), weights[0][units.patient].astype(int))
    band = calibration_band(units, weights)
    expected = calibration_curve(units.take(rows))["accuracy"]
    np.testing.assert_allclose(
        np.array(read(band), float), np.array(expected, float), atol=2e-6, equal_nan=True
    )
    assert band["confidence"] == calibration_curve(units)["confidence"]


def test_a_band_encloses_the_curve_and_narrows_with_more_patients() -> None:
    width = {}
    for patients in (10, 160):
        units = replace(graded(4 * patients), patient=np.arange(4 * patients) % patients)
        band = roc_bands(units, bootstrap_weights(patients, 400, 0)[1:])["normal"]
        fpr, tpr, _ = roc_curve(units.truth == 0, units.probability[:, 0], drop_intermediate=False)
        low, high = np.array(band["low"]), np.array(band["high"])
        at = np.array([_above(fpr, tpr, x) for x in FPRS])
        assert ((low <= at + 1e-6) & (at <= high + 1e-6)).all()
        width[patients] = float((high - low).mean())
    assert 2 < width[10] / width[160] < 8  # 4 for a standard error


def test_no_band_where_too_many_resamples_are_undefined() -> None:
    # One of two patients has the class: a quarter of the resamples are without it.
    scene = make_scene([0, 1], [(0, HERE, 0, 0), (1, HERE, 1, 0)], [(0, HERE, 0, [0.1, 0.9, 0, 0])])
    band = precision_recall_bands(scene, bootstrap_weights(2, 200, 0)[1:])
    assert set(band["normal"]["low"]) == set(band["normal"]["high"]) == {None}
    assert band["osteoporosis"] is None
