"""``python -m dsnet.leakage.control``: HU models that learn labels drawn by lot, many times over.

Under a split by patient the training labels are drawn by lot, among the patients of each part, and
the test labels stay: on the average nothing may be learnt. Under a split by image the labels of all
patients are drawn by lot, those of the test part with them: there is no bone in such labels, and
whatever is learnt is who the patient is.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dsnet import schemas
from dsnet.baseline.multinomial import Multinomial, class_indices
from dsnet.baseline.nearest import Nearest
from dsnet.config.evaluate import Evaluate, Leakage
from dsnet.evaluate.about import read_about
from dsnet.evaluate.bootstrap import COVERAGE, estimate
from dsnet.evaluate.grading import grade
from dsnet.evaluate.matching import Floats
from dsnet.evaluate.units import pool
from dsnet.files import write_json
from dsnet.leakage.shuffle import shuffled
from dsnet.schemas import FEATURES, FEATURES_HU
from dsnet.step import run

MODELS: dict[str, Callable[[pd.DataFrame], Multinomial | Nearest]] = {
    "multinomial": Multinomial.fit,
    "nearest": Nearest.fit,
}

GRADES = ("accuracy", "macro_auc")


def control(
    *,
    params: Leakage,
    judging: Evaluate,
    features: Path,
    digest: Path,
    split: Path,
    metrics: Path,
) -> None:
    """Judge each HU model on labels drawn by lot.

    Parameters
    ----------
    params : Leakage
    judging : Evaluate
        Its rule for patients.
    features : Path
        `schemas.FEATURES` from `dsnet.baseline`, under the split to be examined.
    digest, split : Path
        ``slices.json`` and that split, `schemas.SPLIT`.
    metrics : Path
        Folder, in which ``multinomial.json`` and ``nearest.json`` are written, in the form of
        `dsnet.evaluate.report`; value and interval are mean and range over the lots.
    """
    about = read_about(digest, split)
    rows = schemas.read(FEATURES, features).dropna(subset=list(FEATURES_HU))
    values = lots(rows, params, judging, everybody=about["leaky"])
    words = "labels shuffled by patient" if about["leaky"] else "training labels shuffled"
    told = {
        **about,
        "cohort": f"{about['cohort']}, {words}",
        "subset": "test",
        "seeds": [],
        "counts": _counts(rows[rows["subset"] == "test"]),
        "interval": {
            "method": f"mean and range over {params.shuffles} lots",
            "coverage": COVERAGE,
            "resamples": params.shuffles,
            "seed": params.seed,
        },
    }
    for model, found in values.items():
        shown = {name: _summary(row) for name, row in found.items()}
        write_json(metrics / f"{model}.json", {**told, "metrics": shown})


def lots(
    rows: pd.DataFrame, params: Leakage, judging: Evaluate, *, everybody: bool
) -> dict[str, dict[str, Floats]]:
    """Return each model's statistics under each lot.

    Parameters
    ----------
    rows : DataFrame
        Measured rows of `schemas.FEATURES`.
    params : Leakage
    judging : Evaluate
    everybody : bool
        Whether one lot is drawn for the patients of all parts, test labels included; else one in
        each of training and validation.

    Returns
    -------
    dict of dict of float64 (shuffles,)
        By model and statistic.
    """
    rng = np.random.default_rng([params.seed, 3])
    drawn: dict[str, list[dict[str, float]]] = {model: [] for model in MODELS}
    for _ in range(params.shuffles):
        lot = rows.assign(label=_lot(rows, rng, everybody=everybody))
        test = lot["subset"] == "test"
        for model, fit in MODELS.items():
            drawn[model].append(_grades(lot[test], fit(lot[~test]).probability(lot[test]), judging))
    return {
        model: {name: np.array([one[name] for one in every]) for name in every[0]}
        for model, every in drawn.items()
    }


def _summary(row: Floats) -> dict[str, Any]:
    """Return mean and range over the lots under which a statistic is defined."""
    defined = row[~np.isnan(row)]
    mean = defined.mean() if len(defined) else np.nan
    return {**estimate(np.concatenate([[mean], defined])), "seed_sd": None, "by_seed": []}


def _lot(rows: pd.DataFrame, rng: np.random.Generator, *, everybody: bool) -> "pd.Series[str]":
    if everybody:
        return shuffled(rows, rng)
    labels = rows["label"].copy()
    for part in ("train", "validation"):
        mine = rows["subset"] == part
        labels[mine] = shuffled(rows[mine], rng)
    return labels


def _grades(test: pd.DataFrame, probability: Floats, judging: Evaluate) -> dict[str, float]:
    """Return the statistics of boxes and of patients, each patient counted once."""
    patient, keys = pd.factorize(test["patient_key"])
    once = np.ones((1, len(keys)))
    truth = class_indices(test)
    severest = np.zeros(len(keys), dtype=np.int64)
    np.maximum.at(severest, patient, truth)
    pooled, _ = pool(probability, patient, len(keys), judging.patient_label)
    judged = {
        "found": grade(truth, probability, patient, once),
        "patient": grade(severest, pooled, np.arange(len(keys)), once),
    }
    return {
        f"{unit}_{name}": float(grades[name][0])
        for unit, grades in judged.items()
        for name in GRADES
    }


def _counts(test: pd.DataFrame) -> dict[str, Any]:
    shares = test["label"].value_counts().reindex(schemas.CLASSES, fill_value=0)
    people = test.groupby("patient_key")["label"].first().value_counts()
    return {
        "patients": int(test["patient_key"].nunique()),
        "images": int(test["image_key"].nunique()),
        "boxes": len(test),
        "boxes_by_class": {name: int(count) for name, count in shares.items()},
        "patients_by_class": {name: int(people.get(name, 0)) for name in schemas.CLASSES},
    }


if __name__ == "__main__":
    run(control)
