from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.phantom.bone import CUE_SCATTER, Bone, draw_bone, t_score_table
from dsnet.schemas import CLASSES, LEVELS


def who_class(tenths: int) -> str:
    t_score = Decimal(tenths) / 10
    if t_score >= Decimal("-1.0"):
        return "normal"
    return "osteoporosis" if t_score <= Decimal("-2.5") else "osteopenia"


def test_each_class_holds_its_who_range_alone() -> None:
    t_scores, probability = t_score_table()
    assert probability.sum(axis=1) == pytest.approx(1)
    for name, row in zip(CLASSES, probability, strict=True):
        assert {who_class(round(10 * t)) for t in t_scores[row > 0]} == {name}


@given(seed=st.integers(0, 2**31), label=st.sampled_from(CLASSES), boundary=st.booleans())
@settings(deadline=None, max_examples=50)
def test_drawn_t_scores_are_of_the_class(seed: int, label: str, *, boundary: bool) -> None:
    bone = draw_bone(np.random.default_rng(seed), label, boundary=boundary)
    assert who_class(bone.tenths) == label
    if boundary and label != "osteopenia":
        assert bone.tenths == (-10 if label == "normal" else -25)
    assert sum(bone.deviation[level] for level in LEVELS) == pytest.approx(0, abs=1e-9)


@given(tenths=st.integers(-50, 19), scatter=st.tuples(*[st.floats(-2, 2)] * 3))
@settings(deadline=None, max_examples=50)
def test_cues_follow_the_t_score(tenths: int, scatter: tuple[float, float, float]) -> None:
    worse, better = (Bone(t, {}, scatter).cues() for t in (tenths, tenths + 1))
    assert worse.trabecular_hu < better.trabecular_hu
    assert worse.texture_hu > better.texture_hu
    assert worse.cortex_mm < better.cortex_mm


def test_class_means_are_near_the_published_ones() -> None:
    rng = np.random.default_rng(0)
    for label, hu in zip(CLASSES, (160, 115, 80), strict=True):
        drawn = [draw_bone(rng, label).cues().trabecular_hu for _ in range(1000)]
        assert np.mean(drawn) == pytest.approx(hu, abs=8)


def test_levels_share_the_patients_scatter() -> None:
    bone = draw_bone(np.random.default_rng(1), "osteopenia")
    for level in LEVELS:
        shifted = Bone(bone.tenths, {level: 0.0}, bone.scatter)
        assert shifted.cues(level) == bone.cues()
    assert len(bone.scatter) == len(CUE_SCATTER)
