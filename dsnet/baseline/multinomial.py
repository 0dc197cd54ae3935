"""Multinomial logistic regression on the HU features."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from dsnet.errors import UserError
from dsnet.evaluate.matching import Floats, Integers
from dsnet.schemas import CLASSES, FEATURES_HU

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""Inverse strengths of the ridge penalty to choose from, the strongest penalty first."""


@dataclass(frozen=True)
class Multinomial:
    """A fitted model.

    Attributes
    ----------
    strength : float
        Inverse strength of the ridge penalty.
    pipeline : Pipeline
        Standardises the features and weighs them.
    """

    strength: float
    pipeline: Pipeline

    @classmethod
    def fit(cls, features: pd.DataFrame) -> "Multinomial":
        """Return the model of the training rows; the validation rows choose its penalty alone.

        Parameters
        ----------
        features : DataFrame
            As for `training_rows`.
        """
        train, validation = training_rows(features)
        models = [cls(strength, _fit(train, strength)) for strength in STRENGTHS]
        return min(models, key=lambda model: model.loss(validation))

    def probability(self, features: pd.DataFrame) -> Floats:
        """Return the class probabilities of measured rows, float64 (n, 3)."""
        chances = np.zeros((len(features), len(CLASSES)))
        if len(features):
            chances[:, self.pipeline.classes_] = self.pipeline.predict_proba(hu(features))
        return chances

    def loss(self, features: pd.DataFrame) -> float:
        """Return the mean negative logarithm of the true class's probability."""
        right = self.probability(features)[np.arange(len(features)), class_indices(features)]
        return float(-np.log(np.maximum(right, np.finfo(np.float64).tiny)).mean())


def training_rows(features: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the measured rows of training and validation.

    Parameters
    ----------
    features : DataFrame
        Rows of `schemas.FEATURES` of these two parts.

    Raises
    ------
    ValueError
        If there is a row of another part: the test part must not reach a fit.
    UserError
        If one of the two parts holds no measurement.
    """
    strange = set(features["subset"]) - {"train", "validation"}
    if strange:
        raise ValueError(f"rows of {', '.join(sorted(strange))} must not reach a fit")
    measured = features.dropna(subset=list(FEATURES_HU))
    train, validation = (measured[measured["subset"] == part] for part in ("train", "validation"))
    for name, rows in (("training", train), ("validation", validation)):
        if rows.empty:
            raise UserError(
                "features.csv",
                expected=f"measured vertebrae in the {name} part",
                came="none",
                remedy="set slices.pixel_mm to less, or baseline's fractions to more",
            )
    return train, validation


def hu(features: pd.DataFrame) -> Floats:
    """Return the features alone, float64 (n, 4)."""
    return features[list(FEATURES_HU)].to_numpy(np.float64)


def class_indices(features: pd.DataFrame) -> Integers:
    """Return the labels as indices into `schemas.CLASSES`, int64 (n,)."""
    return features["label"].map(CLASSES.index).to_numpy(np.int64)


def _fit(train: pd.DataFrame, strength: float) -> Pipeline:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    return model.fit(hu(train), class_indices(train))
