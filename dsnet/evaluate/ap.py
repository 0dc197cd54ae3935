"""Average precision, for one sample of patients or for a thousand resamples at once.

Only the places of the hits matter: between two hits precision can only fall, so the interpolated
precision takes its values there. What a resample changes is how often each patient counts. So the
detections are reduced to two small tables, hits and detections down to each hit by patient, and
each resample is one row of a matrix product with them.
"""

from dataclasses import dataclass

import numpy as np

from dsnet.evaluate.matching import Flags, Floats, Integers

COCO_IOU = np.linspace(0.5, 0.95, 10)
"""The ten thresholds of AP50:95, computed as in pycocotools."""

RECALLS = np.linspace(0.0, 1.0, 101)
"""Where COCO reads the interpolated precision."""


@dataclass(frozen=True)
class Ranking:
    """The detections of one class, reduced to what average precision needs.

    Attributes
    ----------
    hits, seen : float64 (hits, patients)
        By patient, how many hits and how many detections stand at or above each hit.
    wanted : float64 (patients,)
        Ground truths by patient.
    """

    hits: Floats
    seen: Floats
    wanted: Floats

    def average_precision(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return COCO and VOC AP when patients count as often as `weights` says.

        Parameters
        ----------
        weights : float64 (resamples, patients)

        Returns
        -------
        coco, voc : float64 (resamples,)
            As `average_precision`.
        """
        return average_precision(
            weights @ self.hits.T, weights @ self.seen.T, weights @ self.wanted
        )


def rank(score: Floats, hit: Flags, patient: Integers, wanted: Floats) -> Ranking:
    """Return the ranking of detections, best first.

    Parameters
    ----------
    score : float64 (detections,)
        Equal scores stay in the order given, as in pycocotools.
    hit : bool (detections,)
        Whether each took a ground truth.
    patient : int64 (detections,)
        Index into `wanted`.
    wanted : float64 (patients,)
        Ground truths by patient.
    """
    order = np.argsort(-score, kind="stable")
    places = np.flatnonzero(hit[order])
    shape = (len(places), len(wanted))
    hits, seen = np.zeros(shape), np.zeros(shape)
    hits[np.arange(len(places)), patient[order][places]] = 1
    # Each detection counts from the first hit at or below it; those after the last never do.
    until = np.searchsorted(places, np.arange(len(order)))
    counts = until < len(places)
    np.add.at(seen, (until[counts], patient[order][counts]), 1)
    return Ranking(hits.cumsum(axis=0), seen.cumsum(axis=0), wanted)


def average_precision(hits: Floats, seen: Floats, wanted: Floats) -> tuple[Floats, Floats]:
    """Return COCO's and VOC's average precision.

    Parameters
    ----------
    hits, seen : float64 (samples, hits)
        How many hits and how many detections stand at or above each hit, the best first.
    wanted : float64 (samples,)
        Ground truths.

    Returns
    -------
    coco : float64 (samples,)
        Mean interpolated precision at the recalls 0, 0.01, ..., 1, as pycocotools.
    voc : float64 (samples,)
        Area under the interpolated curve at every point, as Pascal VOC since 2010.
        Both are NaN where there is no ground truth: COCO leaves such a class out.
    """
    if hits.shape[1] == 0:
        none = np.where(wanted > 0, 0.0, np.nan)
        return none, none
    precision = hits / (seen + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = hits / np.where(wanted > 0, wanted, np.nan)[:, None]
    reached = np.searchsorted(RECALLS, recall, side="right")
    coco = (precision * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
    voc = (precision * np.diff(recall, axis=1, prepend=0)).sum(axis=1)
    return np.where(wanted > 0, coco, np.nan), voc


def interpolated(ranked: Ranking) -> Floats:
    """Return the interpolated precision at `RECALLS`, every patient counted once.

    0 beyond the largest recall; its mean is COCO's AP.
    """
    hits = ranked.hits.sum(axis=1)
    precision = hits / (ranked.seen.sum(axis=1) + np.spacing(1))
    precision = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return precision[np.searchsorted(hits / ranked.wanted.sum(), RECALLS, side="left")]


def mean_defined(values: Floats) -> Floats:
    """Return the mean over the first axis of what is not NaN, NaN where nothing is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0.0).sum(axis=0)
    return ratio(total, count.astype(np.float64))


def ratio(part: Floats, whole: Floats) -> Floats:
    """Return `part` / `whole`, NaN where `whole` is 0."""
    quotient: Floats = np.full(part.shape, np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient
