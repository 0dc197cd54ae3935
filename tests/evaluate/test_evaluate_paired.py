from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_scenes import once, random_scene, right_and_wrong, scenes, with_box_each

from dsnet.config.evaluate import Evaluate
from dsnet.evaluate.matching import Floats
from dsnet.evaluate.metrics import compared
from dsnet.evaluate.paired import differences, holm, joined, swaps
from dsnet.evaluate.scene import Detections, Scene, best_first

FEW = Evaluate(bootstrap=100, permutations=400)
POINT = {"iou": 0.5, "score": 0.5, "rule": "mean_probability"}


def two(seed: int, images: int = 7) -> tuple[Scene, Scene]:
    """Return two detectors' detections on the same images; scores tie all the time."""
    one = with_box_each(random_scene(seed, images, 8), seed)
    found = one.detections
    drawn = np.random.default_rng(seed).permutation(len(found.image))
    other = replace(found, box=found.box[drawn], label=found.label[drawn])
    return one, replace(one, detections=best_first(other))


def with_detections_of(scene: Scene, other: Scene, patients: Floats) -> Scene:
    """Return `scene` with the detections of `other` for the marked patients."""
    own, foreign = (
        each.detections.take(patients[scene.patient[each.detections.image]] == mark)
        for each, mark in ((scene, 0), (other, 1))
    )
    columns = zip(vars(own).values(), vars(foreign).values(), strict=True)
    return replace(scene, detections=best_first(Detections(*map(np.concatenate, columns))))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_a_swap_is_a_new_evaluation_with_the_other_ones_detections(seed: int) -> None:
    one, other = two(seed)
    people = len(one.patient_keys)
    drawn = swaps(people, 4, seed)
    at_once = compared(joined(one, other), np.hstack([1 - drawn, drawn]), **POINT)
    for row, marks in enumerate(drawn):
        mixed = with_detections_of(one, other, marks)
        anew = compared(mixed, once(mixed), **POINT)
        for name, value in anew.items():
            np.testing.assert_allclose(at_once[name][row], value[0], atol=1e-9, err_msg=name)


@settings(deadline=None, max_examples=10)
@given(scenes(most_detections=6), st.integers(0, 1000))
def test_a_detector_does_not_differ_from_itself(scene: Scene, seed: int) -> None:
    scene = with_box_each(scene, seed)
    for values in differences([scene, scene], [scene, scene], FEW).values():
        if values["value"] is not None:
            assert values["value"] == pytest.approx(0, abs=1e-12)
            assert values["p"] == 1


def test_the_difference_turns_its_sign_and_keeps_its_p() -> None:
    one, other = two(5)
    there, back = differences([one], [other], FEW), differences([other], [one], FEW)
    assert any(values["value"] for values in there.values())
    for name, values in there.items():
        if values["value"] is not None:
            assert values["value"] == pytest.approx(-back[name]["value"])
            assert values["p"] == back[name]["p"]


def test_three_patients_prove_nothing() -> None:
    # Of the 8 equally likely swaps, 2 differ as much.
    told = differences(*([scene] for scene in right_and_wrong(3)), FEW)
    assert told["map"]["value"] == pytest.approx(1)
    assert 0.18 < told["map"]["p"] < 0.32


def test_twelve_patients_do() -> None:
    told = differences(*([scene] for scene in right_and_wrong(12)), FEW)
    assert told["patient_accuracy"] == {"value": 1, "low": 1, "high": 1, "p": round(1 / 401, 8)}


def test_holm_by_hand() -> None:
    p = pd.Series([0.04, 0.01, np.nan, 0.03, 0.5])
    # 4 * 0.01, 3 * 0.03, then 2 * 0.04 is raised to 0.09.
    expected = pd.Series([0.09, 0.04, np.nan, 0.09, 0.5])
    pd.testing.assert_series_equal(holm(p), expected)
    assert holm(pd.Series([0.6, 0.9])).tolist() == [1, 1]
