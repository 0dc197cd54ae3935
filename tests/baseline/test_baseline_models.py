import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from dsnet.baseline.grader import Grader
from dsnet.baseline.multinomial import STRENGTHS, Multinomial, class_indices, hu
from dsnet.baseline.nearest import Nearest
from dsnet.config.evaluate import Baseline
from dsnet.errors import UserError
from dsnet.schemas import CLASSES, FEATURES_HU

MEAN_HU = {"normal": 170, "osteopenia": 120, "osteoporosis": 80}


def made_features(seed: int = 0, spread_hu: float = 15) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        (part, label)
        for part, count in (("train", 12), ("validation", 5), ("test", 6))
        for label in CLASSES
        for _ in range(count)
    ]
    table = pd.DataFrame(rows, columns=["subset", "label"])
    middle = table["label"].map(MEAN_HU).to_numpy(float)[:, None]
    values = middle * [1, 0.2, 0.8, 2.5] + rng.normal(0, spread_hu, (len(table), 4))
    return table.assign(**dict(zip(FEATURES_HU, values.T, strict=True)))


def known(features: pd.DataFrame) -> pd.DataFrame:
    return features[features["subset"] != "test"]


@pytest.mark.parametrize("fit", [Multinomial.fit, Nearest.fit, lambda f: Grader.fit(f, Baseline())])
def test_no_fit_takes_a_test_row(fit: object) -> None:
    assert callable(fit)
    fit(known(made_features()))
    with pytest.raises(ValueError, match="rows of test must not reach a fit"):
        fit(made_features())


def test_the_multinomial_is_scikit_learns_on_the_training_rows_alone() -> None:
    features = made_features()
    model = Multinomial.fit(known(features))
    train = features[features["subset"] == "train"]
    test = features[features["subset"] == "test"]
    middle, spread = hu(train).mean(axis=0), hu(train).std(axis=0)
    plain = LogisticRegression(C=model.strength, max_iter=1000)
    plain.fit((hu(train) - middle) / spread, class_indices(train))
    expected = plain.predict_proba((hu(test) - middle) / spread)
    assert model.probability(test) == pytest.approx(expected, abs=1e-12)
    assert (model.probability(test).argmax(axis=1) == class_indices(test)).mean() > 0.8


def test_validation_chooses_the_penalty() -> None:
    features = known(made_features())
    wrong = features.copy()
    turned = {"normal": "osteoporosis", "osteopenia": "normal", "osteoporosis": "osteopenia"}
    mine = wrong["subset"] == "validation"
    wrong.loc[mine, "label"] = wrong.loc[mine, "label"].map(turned)
    assert Multinomial.fit(features).strength > Multinomial.fit(wrong).strength == STRENGTHS[0]


def test_a_class_without_training_rows_has_no_probability() -> None:
    features = known(made_features())
    model = Multinomial.fit(features[features["label"] != "osteopenia"])
    assert model.probability(features)[:, 1].tolist() == [0] * len(features)


def test_rows_without_a_measurement_are_left_out() -> None:
    features = known(made_features())
    gaps = pd.concat([features, features.iloc[:5].assign(core_mean_hu=np.nan)])
    assert hu(features).shape == (51, 4)
    one, other = Multinomial.fit(features), Multinomial.fit(gaps)
    assert one.probability(features) == pytest.approx(other.probability(features), abs=0)
    with pytest.raises(UserError, match="measured vertebrae in the training part"):
        Multinomial.fit(features.assign(core_mean_hu=np.nan))


def test_the_nearest_neighbour_remembers() -> None:
    features = known(made_features())
    train = features[features["subset"] == "train"]
    lot = train.assign(label=train["label"].sample(frac=1, random_state=0).to_numpy())
    model = Nearest.fit(pd.concat([lot, features[features["subset"] == "validation"]]))
    assert (model.probability(lot).argmax(axis=1) == class_indices(lot)).all()
    assert model.probability(lot.iloc[:0]).shape == (0, 3)
