"""The features of a vertebral body: where it is measured, and one row per annotated box.

A body's box on an axial slice is as wide as the body and reaches from its front to its back wall;
the front is up, as in a standard axial image. Pickhardt et al. (2013) set an oval over the anterior
trabecular bone of L1, away from the cortex and the veins behind; `Region.core` is that oval.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dsnet.config.evaluate import Baseline
from dsnet.evaluate.scene import Flags, Floats
from dsnet.schemas import BOX, FEATURES, FEATURES_HU
from dsnet.slices import SliceStore

MIN_PIXELS = 9
"""Fewer pixels in core or rim are no measurement."""

_LOW_PERCENT = 10


@dataclass(frozen=True)
class Region:
    """The pixels of a box, and which of them are measured.

    Attributes
    ----------
    hu : float64 (rows, columns)
        The pixels that the box touches.
    core : bool (rows, columns)
        Trabecular bone: an ellipse in the front part of the body, off the cortical shell and the
        basivertebral veins, which enter in the middle of the back wall.
    rim : bool (rows, columns)
        Cortical shell: the front half of a ring along the ellipse that fills the box. The back half
        would hold the spinal canal and the pedicles.
    """

    hu: Floats
    core: Flags
    rim: Flags


def region(image: NDArray[np.int16], box: Floats, params: Baseline) -> Region:
    """Return what of an image is measured for one box; a pixel counts by its centre.

    Parameters
    ----------
    image : int16 (size_px, size_px)
        Of the slice store, in HU.
    box : float64 (4,)
        Edges as `schemas.BOX`; what lies beyond the image is left out.
    params : Baseline
    """
    x_min, y_min, x_max, y_max = box
    rows = np.arange(max(0, int(y_min)), min(len(image), int(np.ceil(y_max))))
    columns = np.arange(max(0, int(x_min)), min(image.shape[1], int(np.ceil(x_max))))
    # From 0 at the left edge and the front to 1 at the right edge and the back.
    across = (columns[None, :] + 0.5 - x_min) / (x_max - x_min)
    deep = (rows[:, None] + 0.5 - y_min) / (y_max - y_min)
    sideways = (across - 0.5) / params.core_width_fraction
    backwards = (deep - params.core_centre_fraction) / params.core_depth_fraction
    radius = 2 * np.hypot(across - 0.5, deep - 0.5)
    return Region(
        hu=image[np.ix_(rows, columns)].astype(np.float64),
        core=np.hypot(sideways, backwards) <= 0.5,
        rim=(radius <= 1) & (radius > 1 - params.rim_fraction) & (deep < 0.5),
    )


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
    body = region(image, box, params)
    core, rim = body.hu[body.core], body.hu[body.rim]
    if min(len(core), len(rim)) < MIN_PIXELS:
        return None
    values = [core.mean(), core.std(), np.percentile(core, _LOW_PERCENT), rim.mean()]
    return np.round(np.array(values), 2)


def annotated(store: SliceStore, boxes: pd.DataFrame, params: Baseline) -> pd.DataFrame:
    """Return the features of each annotated box.

    Parameters
    ----------
    store : SliceStore
    boxes : DataFrame
        `schemas.SLICES` with `subset`.
    params : Baseline

    Returns
    -------
    DataFrame
        `schemas.FEATURES` (NaN where a box is too small to be measured), and beside them the
        edges measured and `p_background`, the detector's probability of background: here 0.
    """
    return _table(store, boxes.assign(box="annotated", p_background=0.0), params)


def detected(
    store: SliceStore, boxes: pd.DataFrame, best: pd.DataFrame, params: Baseline
) -> pd.DataFrame:
    """Return the features of each annotated vertebra, taken from the detector's own box.

    An axial slice shows one vertebra (docs/interpretations.md#19): a slice's best box stands for
    it. Where the detector reports none there is no measurement.

    Parameters
    ----------
    store : SliceStore
    boxes : DataFrame
        `schemas.SLICES` with `subset`.
    best : DataFrame
        As `best_boxes` returns them.
    params : Baseline

    Returns
    -------
    DataFrame
        As `annotated`.
    """
    rows = boxes.drop(columns=list(BOX)).merge(best, on="image_key", how="left")
    return _table(store, rows.assign(box="detected"), params)


def best_boxes(predictions: pd.DataFrame, score: float) -> pd.DataFrame:
    """Return the likeliest object of each image, regardless of its class.

    Parameters
    ----------
    predictions : DataFrame
        `schemas.PREDICTIONS`.
    score : float
        Least value of 1 - p_background.

    Returns
    -------
    DataFrame
        `image_key`, edges and `p_background`; images without an object are missing.
    """
    sure = predictions[1 - predictions["p_background"] >= score]
    # The likelier class of one proposal has the better box; edges make ties the same everywhere.
    keys = ["p_background", "score", *BOX]
    ordered = sure.sort_values(keys, ascending=[True, False, True, True, True, True])
    return ordered.drop_duplicates("image_key")[["image_key", *BOX, "p_background"]]


def _table(store: SliceStore, rows: pd.DataFrame, params: Baseline) -> pd.DataFrame:
    values = np.full((len(rows), len(FEATURES_HU)), np.nan)
    edges = rows[list(BOX)].to_numpy(np.float64)
    for index, (row, box) in enumerate(zip(rows["row"], edges, strict=True)):
        measured = measure(store.image(row), box, params)
        if measured is not None:
            values[index] = measured
    table = rows.reset_index(drop=True).assign(**dict(zip(FEATURES_HU, values.T, strict=True)))
    return table[[*FEATURES.columns, *BOX, "p_background"]]
