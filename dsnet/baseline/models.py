"""The ways of grading a vertebra by its HU: fixed thresholds, and logistic regression.

P. J. Pickhardt et al., "Opportunistic screening for osteoporosis using abdominal computed
tomography scans obtained for other indications", Ann. Intern. Med. 158(8), 588-595, 2013,
https://doi.org/10.7326/0003-4819-158-8-201304160-00003: at L1, 160 HU is sensitive (about 90 %),
135 HU balanced and 110 HU specific (more than 90 %) for osteoporosis. The paper has no rule for
three classes; ours takes the sensitive threshold as the end of normal bone and the specific one as
the beginning of osteoporosis. 135 HU stands as a rule for osteoporosis alone.

A level or a patient is then graded as a detector's is, by the classes of its boxes
(`evaluate.patient_label`), not by their mean HU.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from dsnet.config.evaluate import Baseline
from dsnet.errors import UserError
from dsnet.evaluate.scene import Floats, Integers
from dsnet.schemas import CLASSES, FEATURES_HU

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""Inverse strengths of the ridge penalty to choose from, the strongest penalty first."""


def three_classes(core_mean_hu: Floats, params: Baseline) -> Floats:
    """Return 1 for the class by the two outer thresholds and 0 for the others.

    Normal from `normal_hu` on, osteoporosis below `osteoporosis_hu`, osteopenia between.

    Parameters
    ----------
    core_mean_hu : float64 (n,)
    params : Baseline

    Returns
    -------
    float64 (n, 3)
        In the order of `schemas.CLASSES`. A rule is never uncertain: its probabilities are 0 and 1.

    Examples
    --------
    >>> three_classes(np.array([135.0]), Baseline()).tolist()
    [[0.0, 1.0, 0.0]]
    """
    severity = (core_mean_hu < params.normal_hu).astype(np.int64)
    severity += core_mean_hu < params.osteoporosis_hu
    return np.eye(len(CLASSES))[severity]


def osteoporosis_alone(core_mean_hu: Floats, threshold_hu: float) -> Floats:
    """Return 1 for osteoporosis below the threshold, else for normal, as `three_classes` does."""
    severity = np.where(core_mean_hu < threshold_hu, len(CLASSES) - 1, 0)
    return np.eye(len(CLASSES))[severity]


@dataclass(frozen=True)
class Multinomial:
    """A fitted multinomial logistic regression on the HU features.

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
        probability = np.zeros((len(features), len(CLASSES)))
        if len(features):
            probability[:, self.pipeline.classes_] = self.pipeline.predict_proba(hu(features))
        return probability

    def loss(self, features: pd.DataFrame) -> float:
        """Return the mean negative logarithm of the true class's probability."""
        right = self.probability(features)[np.arange(len(features)), class_indices(features)]
        return float(-np.log(np.maximum(right, np.finfo(np.float64).tiny)).mean())


@dataclass(frozen=True)
class Grader:
    """The thresholds and the fitted model, applied alike."""

    params: Baseline
    multinomial: Multinomial

    @classmethod
    def fit(cls, features: pd.DataFrame, params: Baseline) -> "Grader":
        """Return the grader fitted on the training rows of `schemas.FEATURES`, none of them test.

        Raises
        ------
        ValueError
            If there is a test row.
        """
        return cls(params, Multinomial.fit(features))

    def grades(self, features: pd.DataFrame) -> dict[str, Floats]:
        """Return the class probabilities of measured rows by each method, float64 (n, 3)."""
        core_mean_hu = features["core_mean_hu"].to_numpy()
        return {
            "thresholds": three_classes(core_mean_hu, self.params),
            "balanced": osteoporosis_alone(core_mean_hu, self.params.balanced_hu),
            "multinomial": self.multinomial.probability(features),
        }

    def facts(self) -> dict[str, Any]:
        """Return what others need to apply it; the logits are intercept + weights . z."""
        scaler, regression = (step for _, step in self.multinomial.pipeline.steps)
        return {
            "settings": self.params.model_dump(),
            "features": list(FEATURES_HU),
            "mean_hu": scaler.mean_.round(4).tolist(),
            "sd_hu": scaler.scale_.round(4).tolist(),
            "classes": [CLASSES[k] for k in regression.classes_],
            "intercept": regression.intercept_.round(6).tolist(),
            "weights": regression.coef_.round(6).tolist(),
            "penalty_inverse_strength": self.multinomial.strength,
        }


def training_rows(features: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the measured rows of training and validation.

    Parameters
    ----------
    features : DataFrame
        Rows of `schemas.FEATURES` of these two subsets.

    Raises
    ------
    ValueError
        If there is a row of another subset: the test subset must not reach a fit.
    UserError
        If one of the two subsets holds no measurement.
    """
    others = set(features["subset"]) - {"train", "validation"}
    if others:
        raise ValueError(f"rows of {', '.join(sorted(others))} must not reach a fit")
    measured = features.dropna(subset=list(FEATURES_HU))
    train, validation = (measured[measured["subset"] == name] for name in ("train", "validation"))
    for name, rows in (("training", train), ("validation", validation)):
        if rows.empty:
            raise UserError(
                "features.csv",
                expected=f"measured vertebrae in the {name} subset",
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
