from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.phantom.person import CUE_SCATTER, Bone, sample_bone, t_score_table
from dsnet.phantom.step import average_precision, ceiling, posterior, realised
from dsnet.schemas import CLASSES, LEVELS

BEST = ceiling(seed=2022, samples=10000, test_patients=7)


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
def test_sampled_t_scores_are_of_the_class(seed: int, label: str, *, boundary: bool) -> None:
    bone = sample_bone(np.random.default_rng(seed), label, boundary=boundary)
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
        sampled = [sample_bone(rng, label).cues().trabecular_hu for _ in range(1000)]
        assert np.mean(sampled) == pytest.approx(hu, abs=8)


def test_levels_share_the_patients_scatter() -> None:
    bone = sample_bone(np.random.default_rng(1), "osteopenia")
    for level in LEVELS:
        shifted = Bone(bone.tenths, {level: 0.0}, bone.scatter)
        assert shifted.cues(level) == bone.cues()
    assert len(bone.scatter) == len(CUE_SCATTER)


def test_accuracies_lie_in_their_bands() -> None:
    assert 0.70 <= BEST["hu_accuracy"] <= 0.80
    assert BEST["hu_accuracy"] + 0.05 < BEST["cues_accuracy"] < 0.95
    assert BEST["cues_accuracy"] < BEST["cues_accuracy_patient"]
    assert 0.6 <= BEST["hu_t_correlation_population"] <= 0.71
    assert 80 < BEST["map_ceiling"] < 97
    spread = BEST["map_ceiling_test_subset"]
    assert spread["low"] < BEST["map_ceiling"] < spread["high"]


@pytest.mark.parametrize("name", ["hu", "cues"])
def test_patient_accuracy_equals_the_integral(name: str) -> None:
    scatter = np.array(list(CUE_SCATTER.values()))
    variance = scatter[0] ** 2 if name == "hu" else 1 / np.sum(scatter**-2.0)
    t_scores, probability = t_score_table()
    grid = np.linspace(-15, 12, 20001)
    kernel = np.exp(-((grid - t_scores[:, None]) ** 2) / 2 / variance)
    density = probability @ kernel / np.sqrt(2 * np.pi * variance)
    exact = np.trapezoid(density.max(axis=0), grid) / len(CLASSES)
    assert BEST[f"{name}_accuracy_patient"] == pytest.approx(exact, abs=0.008)


@given(st.lists(st.floats(-8, 5), min_size=1, max_size=20), st.floats(0.1, 2))
@settings(deadline=None, max_examples=50)
def test_posterior_is_a_distribution(measured: list[float], variance: float) -> None:
    probability = posterior(np.array(measured), variance)
    assert probability.shape == (3, len(measured))
    assert probability.sum(axis=0) == pytest.approx(1)
    assert posterior(np.array([1.0, -1.75, -4.0]), variance).argmax(axis=0).tolist() == [0, 1, 2]


def reference_ap(score: list[float], positive: list[bool]) -> float:
    order = sorted(range(len(score)), key=lambda i: -score[i])
    points = []
    for n in range(1, len(order) + 1):
        matched = sum(positive[i] for i in order[:n])
        points.append((matched / sum(positive), matched / n))
    recalls = np.linspace(0, 1, 101)
    return float(np.mean([max(p for r, p in points if r >= recall) for recall in recalls]))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30, unique=True))
@settings(deadline=None, max_examples=50)
def test_average_precision_is_cocos(boxes: list[tuple[float, bool]]) -> None:
    score, positive = [s for s, _ in boxes], [p for _, p in boxes]
    positive[0] = True
    precision = average_precision(np.array(score), np.array(positive))
    assert precision == pytest.approx(reference_ap(score, positive))


def test_realised_accuracy_is_that_of_the_sampled_patients() -> None:
    rng = np.random.default_rng(3)
    bones = [(label, sample_bone(rng, label)) for label in CLASSES for _ in range(1500)]
    accuracy = realised(bones)
    assert accuracy["cues_accuracy_patient"] == pytest.approx(
        BEST["cues_accuracy_patient"], abs=0.02
    )
    assert accuracy["hu_accuracy_patient"] == pytest.approx(BEST["hu_accuracy_patient"], abs=0.025)
