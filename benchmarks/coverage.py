"""How often the intervals cover, and how often clean runs raise an alarm, in simulations.

``python benchmarks/coverage.py --patients 18`` prints the tables of docs/statistics.md.

A simulated training puts boxes on simulated test images: it has a quality of its own, patients have
a severity that all their images share and that differs from their class, and images have noise. So
a training's results depend on each other within a patient, and trainings differ. What an interval
should cover is measured on many new patients: for one training that training's own value, for
several the mean over all trainings. "before" are the rules until November 2026.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dsnet.baseline.controls import shuffles
from dsnet.config.evaluate import Evaluate, Leakage
from dsnet.evaluate.average_precision import ap50
from dsnet.evaluate.calibration import CALIBRATION, calibration, calibration_error
from dsnet.evaluate.grading import Share, areas, graded_units, shares
from dsnet.evaluate.intervals import (
    bootstrap_weights,
    difference_over_seeds,
    estimate,
    estimate_over_seeds,
    share_over_seeds,
)
from dsnet.evaluate.metrics import (
    ALPHA,
    box_shares,
    chance,
    has_interval,
    limits,
    permutations_of,
    permuted_map,
)
from dsnet.evaluate.scene import Detections, Floats, Scene, Truth, best_first
from dsnet.schemas import CLASSES, FEATURES_HU, LEVELS, SCORE_FLOOR

SEEDS = 5
TRAININGS = 40
"""Of which each run takes some: their mean is what several seeds are to cover."""
TRUTH_PATIENTS, TRUTH_COHORTS = 300, 3
RESAMPLES = 200
IMAGES = 8  # of a patient
STATISTICS = (
    "map",
    "box_ap50",
    "recall",
    "accuracy",
    "box_recall",
    "localised_accuracy",
    "patient_accuracy",
    "patient_sensitivity_osteoporosis",
    "patient_specificity_osteoporosis",
    "patient_macro_auc",
    "localised_brier",
    "localised_calibration_intercept",
    "localised_calibration_slope",
    "localised_ece",
    "patient_ece",
)

COMPARED = ("map", "recall", "accuracy", "box_ap50", "localised_accuracy", "patient_accuracy")
BEFORE, TWO_LEVEL, NO_WIDTH = "before", "two-level percentile", "before, no width"

Values = dict[str, Floats]
Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class Patients:
    """Test patients: class, own severity and difficulty of each; severity of each image."""

    label: NDArray[np.int64]
    severity: Floats
    difficulty: Floats
    image_severity: Floats


@dataclass(frozen=True)
class Training:
    """What distinguishes one training: discrimination, confidence, bias, missed boxes."""

    discrimination: float
    sharpness: float
    bias: float
    missed: float


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=18, help="test patients of a run")
    parser.add_argument("--runs", type=int, default=500, help="0 leaves the coverage out")
    parser.add_argument("--alarms", type=int, default=100, help="clean runs; 0 leaves them out")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    if arguments.runs:
        print(f"{arguments.patients} test patients, {arguments.runs} runs; percent.")
        for title, table in coverage(rng, arguments.patients, arguments.runs).items():
            print(f"\n{title}\n")
            print_markdown(table)
    if arguments.alarms:
        print(f"\nAlarms in {arguments.alarms} clean runs:")
        for name, count in alarms(rng, arguments.patients, arguments.alarms).items():
            print(f"- {name}: {count}")


def print_markdown(shares: pd.DataFrame) -> None:
    """Print shares as percent."""
    rows = [[str(shares.index.name), *shares.columns], ["---"] * (1 + len(shares.columns))]
    for name, row in shares.iterrows():
        rows.append([str(name), *("-" if pd.isna(x) else f"{100 * x:.0f}" for x in row)])
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))


def coverage(rng: np.random.Generator, patients: int, runs: int) -> dict[str, pd.DataFrame]:
    """Return the share of runs in which each interval covers, by statistic and kind."""
    trainings = [new_training(rng) for _ in range(TRAININGS)]
    cohorts = [new_patients(rng, TRUTH_PATIENTS) for _ in range(TRUTH_COHORTS)]
    everyone = np.ones((1, TRUTH_PATIENTS))
    truths = [
        pd.DataFrame([evaluated(new_scene(rng, c, training), everyone)[0] for c in cohorts])
        .map(lambda value: value[0])
        .mean()
        for training in trainings
    ]
    truth = pd.DataFrame(truths)
    weights = bootstrap_weights(patients, RESAMPLES, 0)
    rows = []
    for _ in range(runs):
        cohort = new_patients(rng, patients)
        chosen = rng.permutation(TRAININGS)[: 2 * SEEDS]
        results = [evaluated(new_scene(rng, cohort, trainings[n]), weights) for n in chosen]
        for statistic in STATISTICS:
            made = intervals(statistic, results, truth[statistic], chosen[0], rng)
            for table, kind, (low, high), target in made:
                covers = np.nan if low is None or high is None else float(low <= target <= high)
                rows.append((table, statistic, kind, covers))
                if kind == BEFORE:
                    rows.append((table, statistic, NO_WIDTH, float(low is None or low == high)))
    every = pd.DataFrame(rows, columns=["table", "statistic", "kind", "covers"])
    return {
        str(name): group.pivot_table("covers", "statistic", "kind", sort=False)
        for name, group in every.groupby("table", sort=False)
    }


def intervals(
    statistic: str,
    results: list[tuple[Values, dict[str, Share]]],
    truth: "pd.Series[float]",
    first: int,
    rng: np.random.Generator,
) -> Iterator[tuple[str, str, Bounds, float]]:
    """Yield table, kind, bounds and target of each interval of a statistic."""
    values = np.stack([result[0][statistic] for result in results])
    own, difference = values[:SEEDS], values[:SEEDS] - values[SEEDS:]
    counts = [result[1].get(statistic) for result in results[:SEEDS]]
    yield "One training.", BEFORE, _percentile(own[0]), truth.iloc[first]
    yield "One training.", "now", _ours(statistic, own[:1], counts[:1]), truth.iloc[first]
    if not has_interval(statistic):
        return
    for k in (SEEDS, 2):
        mean, table = truth.mean(), f"The mean over {k} trainings."
        yield table, BEFORE, _percentile(own[:k].mean(axis=0)), mean
        yield table, TWO_LEVEL, _percentile(_two_level(own[:k], rng)), mean
        yield table, "now", _ours(statistic, own[:k], counts[:k]), mean
    if statistic not in COMPARED:
        return
    for k in (1, SEEDS, 2):
        table = f"The difference between two detectors that do not differ, seeds: {k}."
        yield table, BEFORE, _percentile(difference[:k].mean(axis=0)), 0.0
        if k > 1:
            yield table, TWO_LEVEL, _percentile(_two_level(difference[:k], rng)), 0.0
            made = difference_over_seeds(difference[:k])
            yield table, "now", (made["low"], made["high"]), 0.0


def _ours(statistic: str, values: Floats, counts: list[Share | None]) -> Bounds:
    given = [count for count in counts if count is not None]
    if given:
        made = share_over_seeds(given)
    elif has_interval(statistic):
        made = estimate_over_seeds(values, limits(statistic))
    else:
        return None, None
    return made["low"], made["high"]


def _percentile(values: Floats) -> Bounds:
    made = estimate(values)
    return made["low"], made["high"]


def _two_level(values: Floats, rng: np.random.Generator) -> Floats:
    """Return the mean over trainings that are resampled, too."""
    chosen = rng.integers(len(values), size=(values.shape[1] - 1, len(values)))
    resampled = values[:, 1:][chosen, np.arange(len(chosen))[:, None]].mean(axis=1)
    return np.append(values[:, 0].mean(), resampled)


def evaluated(scene: Scene, weights: Floats) -> tuple[Values, dict[str, Share]]:
    """Return `STATISTICS` of one training, and the counts of those that are shares."""
    units = graded_units(scene, iou=0.5, score=0.5, rule="mean_probability")
    counts = box_shares(scene, 0.5, 0.5)
    values = ap50(scene, weights)
    for unit, graded in units.items():
        counts |= {f"{unit}_{n}": share for n, share in shares(graded, weights.shape[1]).items()}
        values[f"{unit}_ece"] = calibration_error(graded, weights)
    made = calibration(units["localised"], weights)
    values |= {f"localised_{name}": made[name] for name in CALIBRATION}
    values["patient_macro_auc"] = areas(units["patient"], weights)["macro_auc"]
    values |= {name: share.of(weights) for name, share in counts.items()}
    return {name: values[name] for name in STATISTICS}, counts


def new_patients(rng: np.random.Generator, patients: int) -> Patients:
    """Return patients of the three classes in turn, as a stratified split has them."""
    images = rng.normal(0, 0.4, patients * IMAGES)
    severity, difficulty = rng.normal(0, 0.6, patients), rng.normal(0, 1, patients)
    return Patients(np.arange(patients) % len(CLASSES), severity, difficulty, images)


def new_training(rng: np.random.Generator) -> Training:
    """Return a training whose `map` differs from that of others by some six points."""
    return Training(
        discrimination=1 + rng.normal(0, 0.25),
        sharpness=1.5 * np.exp(rng.normal(0.5, 0.2)),
        bias=rng.normal(0, 0.25),
        missed=rng.normal(0, 0.3),
    )


def new_scene(rng: np.random.Generator, cohort: Patients, training: Training) -> Scene:
    """Return what a training detects: most of the boxes, and some that are false."""
    patient = np.repeat(np.arange(len(cohort.label)), IMAGES)
    label, n = cohort.label[patient], len(patient)
    level = np.tile(np.arange(IMAGES) * len(LEVELS) // IMAGES, len(cohort.label))
    box = np.tile([20.0, 20.0, 50.0, 44.0], (n, 1))
    severity = training.discrimination * (label - 1) + training.bias + cohort.severity[patient]
    severity += cohort.image_severity + rng.normal(0, 0.4, n)
    logit = -training.sharpness * (severity[:, None] - np.arange(-1, 2)) ** 2
    classes = np.exp(logit - logit.max(axis=1, keepdims=True))
    classes /= classes.sum(axis=1, keepdims=True)
    hard = 0.8 * cohort.difficulty[patient] - training.missed
    localised = np.flatnonzero(rng.random(n) > 1 / (1 + np.exp(3 + hard)))
    false = np.repeat(np.arange(n), rng.poisson(0.4, n))
    corner = rng.uniform(60, 90, (len(false), 2))
    boxes = np.concatenate([box[localised], np.hstack([corner, corner + 25])])
    image = np.concatenate([localised, false])
    background = np.append(rng.beta(1.2, 8, len(localised)), rng.beta(3, 1.5, len(false)))
    guessed = rng.dirichlet(np.ones(len(CLASSES)), len(false))
    foreground = np.concatenate([classes[localised], guessed]) * (1 - background)[:, None]
    probability = np.column_stack([background, foreground])
    boxes += rng.normal(0, 1.6, boxes.shape)
    row, of_class = np.nonzero(foreground >= SCORE_FLOOR)
    detections = Detections(
        image[row], boxes[row], of_class, foreground[row, of_class], probability[row]
    )
    truth = Truth(box[:, None], label[:, None], level[:, None])
    keys = tuple(str(number) for number in range(len(cohort.label)))
    return Scene(patient, keys, truth, best_first(detections), np.arange(n))


def alarms(rng: np.random.Generator, patients: int, runs: int) -> dict[str, int]:
    """Return how many clean runs raise each alarm, before and now."""
    counts = dict.fromkeys(
        (
            "map of a detector without knowledge above chance, before",
            f"map of a detector without knowledge above chance, p <= {ALPHA}",
            "one training on shuffled labels: leak, before",
            "one training on shuffled labels: leak",
            "HU models on 20 shuffles of the labels: leak",
        ),
        0,
    )
    names = list(counts)
    weights = bootstrap_weights(patients, RESAMPLES, 0)
    orders = permutations_of(patients, RESAMPLES, 0)
    for _ in range(runs):
        ignorant = replace(new_training(rng), discrimination=0.0)
        scene = new_scene(rng, new_patients(rng, patients), ignorant)
        values = ap50(scene, weights)["map"]
        verdict = chance(permuted_map(scene, orders), values[0])
        low, _ = _percentile(values)
        counts[names[0]] += int(low > verdict["p975"])
        counts[names[1]] += int(verdict["above_chance"])
        counts[names[2]] += int(_one_shuffle_before(rng, patients, weights))
        features = new_features(rng, patients)
        made = shuffles(features, Leakage(shuffles=20), Evaluate(), everybody=False)
        counts[names[4]] += int(
            any(
                _percentile(np.append(row.mean(), row))[0] > level
                for model in made.values()
                for name, row in model.items()
                for level in [0.5 if name.endswith("auc") else 1 / len(CLASSES)]
            )
        )
    return counts


def _one_shuffle_before(rng: np.random.Generator, patients: int, weights: Floats) -> bool:
    """Return whether a training on shuffled labels lay above chance, by its patients' interval.

    Its classes depend on the severity by accident, in one direction or the other.
    """
    training = replace(new_training(rng), discrimination=rng.normal(0, 0.5))
    values, _ = evaluated(new_scene(rng, new_patients(rng, patients), training), weights)
    levels = {"patient_macro_auc": 0.5, "localised_accuracy": 1 / 3, "patient_accuracy": 1 / 3}
    bounds = {name: _percentile(values[name])[0] for name in levels}
    return any(low is not None and low > levels[name] for name, low in bounds.items())


def new_features(rng: np.random.Generator, test_patients: int) -> pd.DataFrame:
    """Return features as of annotated boxes, which depend on class and patient."""
    patients = 5 * test_patients
    subset = np.array(["test", "validation", "train", "train", "train"])[np.arange(patients) % 5]
    label = np.arange(patients) // 5 % len(CLASSES)
    patient = np.repeat(np.arange(patients), IMAGES)
    centre = 170 - 40 * label + rng.normal(0, 20, patients)
    values = centre[patient, None] * [1, 0.2, 0.8, 2.5]
    values = values + rng.normal(0, 10, (len(patient), len(FEATURES_HU)))
    rows = {
        "image_key": [f"I-{number:016x}" for number in range(len(patient))],
        "patient_key": [f"P-{number:016x}" for number in patient],
        "level": np.array(LEVELS)[np.arange(len(patient)) % len(LEVELS)],
        "subset": subset[patient],
        "label": np.array(CLASSES)[label[patient]],
        **dict(zip(FEATURES_HU, values.T, strict=True)),
    }
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
