import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.phantom.bone import CUE_SCATTER, draw_bone, t_score_table
from dsnet.phantom.ceiling import average_precision, ceiling, posterior, realised
from dsnet.schemas import CLASSES

BEST = ceiling(seed=2022, draws=10000, test_patients=7)


def test_accuracies_lie_in_their_bands() -> None:
    assert 0.70 <= BEST["hu_accuracy"] <= 0.80
    assert BEST["hu_accuracy"] + 0.05 < BEST["cues_accuracy"] < 0.95
    assert BEST["cues_accuracy"] < BEST["cues_accuracy_patient"]
    assert 0.6 <= BEST["hu_t_correlation_population"] <= 0.71
    assert 80 < BEST["map_ceiling"] < 97
    spread = BEST["map_ceiling_test_part"]
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
    found = posterior(np.array(measured), variance)
    assert found.shape == (3, len(measured))
    assert found.sum(axis=0) == pytest.approx(1)
    assert posterior(np.array([1.0, -1.75, -4.0]), variance).argmax(axis=0).tolist() == [0, 1, 2]


def reference_ap(score: list[float], positive: list[bool]) -> float:
    order = sorted(range(len(score)), key=lambda i: -score[i])
    points = []
    for n in range(1, len(order) + 1):
        found = sum(positive[i] for i in order[:n])
        points.append((found / sum(positive), found / n))
    recalls = np.linspace(0, 1, 101)
    return float(np.mean([max(p for r, p in points if r >= recall) for recall in recalls]))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30, unique=True))
@settings(deadline=None, max_examples=50)
def test_average_precision_is_cocos(boxes: list[tuple[float, bool]]) -> None:
    score, positive = [s for s, _ in boxes], [p for _, p in boxes]
    positive[0] = True
    found = average_precision(np.array(score), np.array(positive))
    assert found == pytest.approx(reference_ap(score, positive))


def test_realised_accuracy_is_that_of_the_drawn_patients() -> None:
    rng = np.random.default_rng(3)
    bones = [(label, draw_bone(rng, label)) for label in CLASSES for _ in range(1500)]
    found = realised(bones)
    assert found["cues_accuracy_patient"] == pytest.approx(BEST["cues_accuracy_patient"], abs=0.02)
    assert found["hu_accuracy_patient"] == pytest.approx(BEST["hu_accuracy_patient"], abs=0.025)
