"""The class of the most similar training vertebra: a model that remembers.

Nobody needs it to grade bone. It shows what memory is worth: where a patient's other slices are in
training it finds them, and with them the label, be it right or drawn by lot.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from dsnet.baseline.multinomial import class_indices, hu, training_rows
from dsnet.evaluate.matching import Floats, Integers
from dsnet.schemas import CLASSES


@dataclass(frozen=True)
class Nearest:
    """A fitted model; `pipeline` standardises the features and holds the training rows."""

    pipeline: Pipeline

    @classmethod
    def fit(cls, features: pd.DataFrame) -> "Nearest":
        """Return the model of the training rows, under the rules of `training_rows`."""
        train, _ = training_rows(features)
        model = make_pipeline(StandardScaler(), KNeighborsClassifier(n_neighbors=1))
        return cls(model.fit(hu(train), class_indices(train)))

    def probability(self, features: pd.DataFrame) -> Floats:
        """Return 1 for the class of the nearest row and 0 for the others, float64 (n, 3)."""
        if features.empty:
            return np.zeros((0, len(CLASSES)))
        called: Integers = self.pipeline.predict(hu(features))
        return np.eye(len(CLASSES))[called]
