import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression

from dsnet.baseline.step import (
    STRENGTHS,
    class_indices,
    class_probability,
    fit_multinomial,
    hu,
    osteoporosis_alone,
    three_classes,
)
from dsnet.config.evaluate import Baseline
from dsnet.errors import UserError
from dsnet.schemas import CLASSES, FEATURES_HU

MEAN_HU = {"normal": 170, "osteopenia": 120, "osteoporosis": 80}


def made_features(seed: int = 0, spread_hu: float = 15) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        (subset, label)
        for subset, count in (("train", 12), ("validation", 5), ("test", 6))
        for label in CLASSES
        for _ in range(count)
    ]
    table = pd.DataFrame(rows, columns=["subset", "label"])
    middle = table["label"].map(MEAN_HU).to_numpy(float)[:, None]
    values = middle * [1, 0.2, 0.8, 2.5] + rng.normal(0, spread_hu, (len(table), 4))
    return table.assign(**dict(zip(FEATURES_HU, values.T, strict=True)))


def without_test(features: pd.DataFrame) -> pd.DataFrame:
    return features[features["subset"] != "test"]


def test_no_fit_takes_a_test_row() -> None:
    fit_multinomial(without_test(made_features()))
    with pytest.raises(ValueError, match="rows of test must not reach a fit"):
        fit_multinomial(made_features())


def test_the_multinomial_is_scikit_learns_on_the_training_rows_alone() -> None:
    features = made_features()
    model = fit_multinomial(without_test(features))
    train = features[features["subset"] == "train"]
    test = features[features["subset"] == "test"]
    middle, spread = hu(train).mean(axis=0), hu(train).std(axis=0)
    plain = LogisticRegression(C=model[-1].C, max_iter=1000)
    plain.fit((hu(train) - middle) / spread, class_indices(train))
    expected = plain.predict_proba((hu(test) - middle) / spread)
    assert class_probability(model, test) == pytest.approx(expected, abs=1e-12)
    assert (class_probability(model, test).argmax(axis=1) == class_indices(test)).mean() > 0.8


def strength(features: pd.DataFrame) -> float:
    return fit_multinomial(features)[-1].C


def test_validation_chooses_the_penalty() -> None:
    features = without_test(made_features())
    wrong = features.copy()
    turned = {"normal": "osteoporosis", "osteopenia": "normal", "osteoporosis": "osteopenia"}
    rows = wrong["subset"] == "validation"
    wrong.loc[rows, "label"] = wrong.loc[rows, "label"].map(turned)
    assert strength(features) > strength(wrong) == STRENGTHS[0]


def test_a_class_without_training_rows_has_no_probability() -> None:
    features = without_test(made_features())
    model = fit_multinomial(features[features["label"] != "osteopenia"])
    assert class_probability(model, features)[:, 1].tolist() == [0] * len(features)


def test_rows_without_a_measurement_are_left_out() -> None:
    features = without_test(made_features())
    gaps = pd.concat([features, features.iloc[:5].assign(core_mean_hu=np.nan)])
    assert hu(features).shape == (51, 4)
    one, other = (class_probability(fit_multinomial(each), features) for each in (features, gaps))
    assert one == pytest.approx(other, abs=0)
    with pytest.raises(UserError, match="measured vertebrae in the training subset"):
        fit_multinomial(features.assign(core_mean_hu=np.nan))


def test_the_three_classes_at_their_borders() -> None:
    hu = np.array([400.0, 160.0, 159.99, 110.0, 109.99, -20.0])
    grades = three_classes(hu, Baseline())
    assert grades.sum(axis=1).tolist() == [1] * 6
    assert [CLASSES[k] for k in grades.argmax(axis=1)] == [
        "normal",
        "normal",
        "osteopenia",
        "osteopenia",
        "osteoporosis",
        "osteoporosis",
    ]


def test_osteoporosis_alone_at_its_border() -> None:
    grades = osteoporosis_alone(np.array([135.0, 134.99]), Baseline().balanced_hu)
    assert grades.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_thresholds_leave_room_for_osteopenia() -> None:
    with pytest.raises(ValidationError, match="below normal_hu"):
        Baseline(normal_hu=120, osteoporosis_hu=120)
