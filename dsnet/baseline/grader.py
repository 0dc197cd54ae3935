"""All ways of grading a vertebra by its HU, fitted once and applied alike."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from dsnet.baseline.multinomial import Multinomial
from dsnet.baseline.nearest import Nearest
from dsnet.baseline.thresholds import osteoporosis_alone, three_classes
from dsnet.config.evaluate import Baseline
from dsnet.evaluate.matching import Floats
from dsnet.schemas import CLASSES, FEATURES_HU


@dataclass(frozen=True)
class Grader:
    """The thresholds and the fitted models."""

    params: Baseline
    multinomial: Multinomial
    nearest: Nearest

    @classmethod
    def fit(cls, features: pd.DataFrame, params: Baseline) -> "Grader":
        """Return the grader fitted on the training rows of `schemas.FEATURES`, none of them test.

        Raises
        ------
        ValueError
            If there is a test row.
        """
        return cls(params, Multinomial.fit(features), Nearest.fit(features))

    def grades(self, features: pd.DataFrame) -> dict[str, Floats]:
        """Return the class probabilities of measured rows by each method, float64 (n, 3)."""
        hu = features["core_mean_hu"].to_numpy()
        return {
            "thresholds": three_classes(hu, self.params),
            "balanced": osteoporosis_alone(hu, self.params.balanced_hu),
            "multinomial": self.multinomial.probability(features),
            "nearest": self.nearest.probability(features),
        }

    def facts(self) -> dict[str, Any]:
        """Return what a stranger needs to apply it; the logits are intercept + weights . z."""
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
