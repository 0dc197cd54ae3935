import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dsnet import schemas
from dsnet.baseline.controls import control, shuffles
from dsnet.config.cohort import Split
from dsnet.config.evaluate import Evaluate, Leakage
from dsnet.leakage import split_by_image
from dsnet.schemas import CLASSES, FEATURES_HU, LEVELS
from dsnet.split import assign_images
from dsnet.step import run

PATIENTS, SLICES_EACH = 36, 1


def made_features() -> pd.DataFrame:
    """Return patients who each have HU of their own, and classes unrelated to their HU."""
    rng = np.random.default_rng(0)
    own = rng.normal(150, 40, (PATIENTS, len(FEATURES_HU)))
    rows = []
    for number in range(PATIENTS):
        for image, level in enumerate(LEVELS * SLICES_EACH):
            index = number * len(LEVELS) * SLICES_EACH + image
            values = own[number] + rng.normal(0, 6, len(FEATURES_HU))
            rows.append(
                {
                    "image_key": f"I-{index:016x}",
                    "patient_key": f"P-{number:016x}",
                    "level": level,
                    "subset": ("train", "train", "validation", "test")[number // 3 % 4],
                    "label": CLASSES[number % 3],
                    "box": "annotated",
                    **dict(zip(FEATURES_HU, values.round(2), strict=True)),
                }
            )
    return pd.DataFrame(rows)


def by_image(features: pd.DataFrame) -> pd.DataFrame:
    split = split_by_image(features.assign(row=features.index), Split())
    return features.assign(subset=features["image_key"].map(split.set_index("image_key")["subset"]))


def test_labels_without_meaning_are_learnt_where_patients_are_in_both_subsets() -> None:
    features, params = made_features(), Leakage(shuffles=20)
    honest = shuffles(features, params, Evaluate(), everybody=False)
    leaky = shuffles(by_image(features), params, Evaluate(), everybody=True)
    chance = 1 / 3
    for model in ("multinomial", "nearest"):
        values = honest[model]["localised_accuracy"]
        assert np.mean(values) == pytest.approx(chance, abs=0.06)
        assert np.mean(honest[model]["localised_macro_auc"]) == pytest.approx(0.5, abs=0.06)
        assert np.mean(leaky[model]["localised_accuracy"]) > chance + 0.05
    # Who remembers the patient remembers the label, on every shuffle.
    assert leaky["nearest"]["localised_accuracy"].min() > 0.7
    assert leaky["nearest"]["patient_accuracy"].min() > 0.7


def test_the_step_writes_mean_and_range_and_what_was_shuffled(tmp_path: Path) -> None:
    features = by_image(made_features())
    schemas.write(schemas.FEATURES, features, tmp_path / "features.csv")
    images = features.assign(stratum=features["label"], content=features.index)
    schemas.write(schemas.SPLIT, assign_images(images, Split()), tmp_path / "split.csv")
    (tmp_path / "slices.json").write_text('{"cohort": "made up", "synthetic": true}')
    named = {
        "params": Leakage(shuffles=20).model_dump_json(),
        "evaluation": Evaluate().model_dump_json(),
        "features": tmp_path / "features.csv",
        "digest": tmp_path / "slices.json",
        "split": tmp_path / "split.csv",
        "metrics": tmp_path / "metrics",
    }
    run(control, argv=[word for name, value in named.items() for word in (f"--{name}", str(value))])
    made = json.loads((tmp_path / "metrics" / "nearest.json").read_text())
    assert made["cohort"] == "made up, labels shuffled by patient"
    assert (made["synthetic"], made["leaky"]) == (True, True)
    methods = {"shuffles": "mean, 2.5 % and 97.5 % quantile over 20 shuffles"}
    assert made["interval"]["methods"] == methods
    assert made["counts"]["images"] == (features["subset"] == "test").sum()
    values = made["metrics"]["localised_accuracy"]
    assert values["low"] <= values["value"] <= values["high"]
    assert set(values) == {"value", "low", "high", "method", "seed_sd", "by_seed"}
