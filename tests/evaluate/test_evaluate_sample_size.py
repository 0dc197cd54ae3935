import numpy as np
import pytest
from scipy import stats
from support.made_tables import statistic
from support.random_scenes import make_scene

from dsnet.config.evaluate import Evaluate
from dsnet.evaluate.clinical_use import (
    c_needs,
    oe_needs,
    precision,
    proportion_needs,
    riley,
    slope_needs,
)
from dsnet.evaluate.grading import Units
from dsnet.evaluate.step import metrics_of

PATIENTS = {"normal": 10, "osteopenia": 10, "osteoporosis": 5}
HERE = [0, 0, 10, 10]


@pytest.mark.parametrize("proportion", [0.0, 0.2, 0.5, 0.87, 1.0])
def test_a_proportion_has_so_narrow_an_interval_with_so_many_patients_and_no_fewer(
    proportion: float,
) -> None:
    def half(count: int) -> float:
        low, high = stats.beta.ppf(
            (0.025, 0.975),
            (proportion * count, proportion * count + 1),
            (count - proportion * count + 1, count - proportion * count),
        )
        bounds = np.nan_to_num(low, nan=0.0), np.nan_to_num(high, nan=1.0)
        return float(bounds[1] - bounds[0]) / 2

    needed = proportion_needs(proportion)
    assert half(needed) <= 0.05 < half(needed - 1)
    assert proportion_needs(proportion, half_width=0.99) == 2


def test_the_published_example_of_riley() -> None:
    """R. D. Riley et al., Stat. Med. 40, 4230-4251, 2021: venous thrombosis, prevalence 1.8 %."""
    assert oe_needs(0.018, width=1.0) == pytest.approx(905, abs=2)
    assert c_needs(0.018, 0.8) == pytest.approx(4252, abs=2)


def test_the_slope_needs_what_its_information_says() -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(-1, 1.5, 4000)
    predicted = 1 / (1 + np.exp(-logit))
    needed = slope_needs(predicted)
    assert needed is not None
    # The standard error by the inverse of the whole information matrix, at that many patients.
    weight = predicted * (1 - predicted)
    design = np.stack([np.ones_like(logit), logit])
    information = needed * (weight * design) @ design.T / len(logit)
    error = np.sqrt(np.linalg.inv(information)[1, 1])
    assert 2 * 1.959964 * error == pytest.approx(0.4, rel=0.01)
    assert slope_needs(np.array([0.0001, 0.9999, 0.9999])) is None


def test_half_widths_rest_on_the_patients_of_their_class() -> None:
    metrics = {
        "map": {**statistic(0.7)},
        "patient_accuracy": statistic(0.8),
        "patient_sensitivity_osteoporosis": statistic(0.6),
        "patient_specificity_osteoporosis": {"value": 0.9, "low": None, "high": None},
    }
    made = precision(metrics, PATIENTS)
    assert made["map"] == {
        "patients": 25,
        "half_width": 0.1,
        "needed": 100,
        "test_patients": 100,
    }
    assert made["patient_accuracy"]["needed"] == proportion_needs(0.8)
    sensitivity = made["patient_sensitivity_osteoporosis"]
    assert sensitivity["patients"] == 5
    assert sensitivity["test_patients"] == 5 * sensitivity["needed"]
    specificity = made["patient_specificity_osteoporosis"]
    assert (specificity["patients"], specificity["half_width"]) == (20, None)
    assert specificity["needed"] == proportion_needs(0.9)


def test_criteria_are_undefined_without_osteoporosis() -> None:
    units = Units(np.zeros(4, dtype=int), np.full((4, 3), 1 / 3), np.arange(4), np.ones(4, bool))
    assert {one["needed"] for one in riley(units, None).values()} == {None}


def test_a_metrics_file_holds_the_statement() -> None:
    truths = [(image, HERE, image % 3, 0) for image in range(9)]
    made = metrics_of([make_scene(list(range(9)), truths, [])], [0], Evaluate(bootstrap=100))
    assert made["sample_size"]["precision"]["map"]["patients"] == 9
    assert made["sample_size"]["riley"]["observed_by_expected"]["needed"] == oe_needs(1 / 3)
    assert made["decision"]["prevalence"] == pytest.approx(1 / 3)
