"""A baseline's classes in the form of a detector's predictions, so that both are judged alike."""

import numpy as np
import pandas as pd

from dsnet.evaluate.matching import Floats
from dsnet.schemas import BOX, CLASSES, PREDICTIONS

SCORE_FLOOR = 0.001
"""Classes less likely than that are left out, as a detector's are (docs/interpretations.md#16b)."""


def as_detections(measured: pd.DataFrame, probability: Floats) -> pd.DataFrame:
    """Return one detection for each box and class.

    Parameters
    ----------
    measured : DataFrame
        `image_key`, edges and `p_background` of the boxes measured.
    probability : float64 (n, 3)
        Of the classes, given that the box shows a vertebra; rows sum to 1.

    Returns
    -------
    DataFrame
        Under `schemas.PREDICTIONS`; class probabilities are shares of 1 - p_background.
    """
    shares = probability * (1 - measured["p_background"].to_numpy(np.float64))[:, None]
    rows = measured[["image_key", *BOX, "p_background"]].assign(
        **{f"p_{name}": shares[:, k] for k, name in enumerate(CLASSES)}
    )
    every = [rows.assign(label=name, score=rows[f"p_{name}"]) for name in CLASSES]
    table = pd.concat(every).sort_index(kind="stable")
    table = table[table["score"] >= SCORE_FLOOR].astype({"image_key": str, "label": str})
    # A detector's one box may stand for two annotated ones.
    return table[list(PREDICTIONS.columns)].drop_duplicates(ignore_index=True)
