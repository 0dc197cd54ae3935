"""The features of a vertebral body: one row per annotated box, whether measured or not."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dsnet.baseline.region import region
from dsnet.config.evaluate import Baseline
from dsnet.evaluate.matching import Floats
from dsnet.schemas import BOX, FEATURES, FEATURES_HU
from dsnet.slices.store import SliceStore

MIN_PIXELS = 9
"""Fewer pixels in core or rim are no measurement."""

_LOW_PERCENT = 10


def measure(image: NDArray[np.int16], box: Floats, params: Baseline) -> Floats | None:
    """Return the features of one box, or None where too few pixels are there to be measured.

    Parameters
    ----------
    image : int16 (size_px, size_px)
    box : float64 (4,)
        Edges as `schemas.BOX`.
    params : Baseline

    Returns
    -------
    float64 (4,) or None
        In the order of `schemas.FEATURES_HU`, to 0.01 HU: mean, standard deviation (texture and
        noise) and tenth percentile (fatty gaps between the trabeculae) of the core, and the mean
        of the cortical rim.
    """
    if not (box[2] > box[0] and box[3] > box[1]):
        return None
    found = region(image, box, params)
    core, rim = found.hu[found.core], found.hu[found.rim]
    if min(len(core), len(rim)) < MIN_PIXELS:
        return None
    values = [core.mean(), core.std(), np.percentile(core, _LOW_PERCENT), rim.mean()]
    return np.round(np.array(values), 2)


def annotated(store: SliceStore, drawn: pd.DataFrame, params: Baseline) -> pd.DataFrame:
    """Return the features of each annotated box.

    Parameters
    ----------
    store : SliceStore
    drawn : DataFrame
        `schemas.SLICES` with `part`.
    params : Baseline

    Returns
    -------
    DataFrame
        `schemas.FEATURES` (NaN where a box is too small to be measured), and beside them the
        edges measured and `p_background`, the detector's doubt about them: here 0.
    """
    return _table(store, drawn.assign(box="annotated", p_background=0.0), params)


def detected(
    store: SliceStore, drawn: pd.DataFrame, found: pd.DataFrame, params: Baseline
) -> pd.DataFrame:
    """Return the features of each annotated vertebra, taken from the detector's own box.

    An axial slice shows one vertebra (docs/interpretations.md#19): a slice's best box stands for
    it. Where the
    detector found none there is no measurement.

    Parameters
    ----------
    store : SliceStore
    drawn : DataFrame
        `schemas.SLICES` with `part`.
    found : DataFrame
        As `best_boxes` returns them.
    params : Baseline

    Returns
    -------
    DataFrame
        As `annotated`.
    """
    rows = drawn.drop(columns=list(BOX)).merge(found, on="image_key", how="left")
    return _table(store, rows.assign(box="detected"), params)


def best_boxes(predictions: pd.DataFrame, score: float) -> pd.DataFrame:
    """Return the likeliest object of each image, whatever its class.

    Parameters
    ----------
    predictions : DataFrame
        `schemas.PREDICTIONS`.
    score : float
        What 1 - p_background must reach.

    Returns
    -------
    DataFrame
        `image_key`, edges and `p_background`; images on which nothing was found are missing.
    """
    sure = predictions[1 - predictions["p_background"] >= score]
    # The likelier class of one proposal has the better box; edges make ties the same everywhere.
    keys = ["p_background", "score", *BOX]
    ordered = sure.sort_values(keys, ascending=[True, False, True, True, True, True])
    return ordered.drop_duplicates("image_key")[["image_key", *BOX, "p_background"]]


def _table(store: SliceStore, rows: pd.DataFrame, params: Baseline) -> pd.DataFrame:
    values = np.full((len(rows), len(FEATURES_HU)), np.nan)
    edges = rows[list(BOX)].to_numpy(np.float64)
    for place, (row, box) in enumerate(zip(rows["row"], edges, strict=True)):
        measured = measure(store.image(row), box, params)
        if measured is not None:
            values[place] = measured
    table = rows.reset_index(drop=True).assign(**dict(zip(FEATURES_HU, values.T, strict=True)))
    return table[[*FEATURES.columns, *BOX, "p_background"]]
