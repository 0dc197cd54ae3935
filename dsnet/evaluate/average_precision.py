"""Average precision, for one sample of patients or for a thousand resamples at once.

Only the ranks of the hits matter: between two hits precision can only fall, so the interpolated
precision takes its values there. What a resample changes is how often each patient counts. So the
detections are reduced to two small tables, hits and detections down to each hit by patient, and
each resample is one row of a matrix product with them.

Training chooses its epoch by `ap50`, and so depends on this module and on `scene` alone.
"""

from dataclasses import dataclass

import numpy as np

from dsnet.evaluate.scene import Detections, Flags, Floats, Integers, Scene, match
from dsnet.slice_tables import CLASSES

COCO_IOU = np.linspace(0.5, 0.95, 10)
"""The ten thresholds of AP50:95, computed as in pycocotools."""

AP50_IOU = COCO_IOU[:1]
"""The threshold of AP50, that of the headline `map` (docs/interpretations.md#13)."""

RECALLS = np.linspace(0.0, 1.0, 101)
"""Where COCO reads the interpolated precision."""


@dataclass(frozen=True)
class Ranking:
    """The detections of one class, reduced to what average precision needs.

    Attributes
    ----------
    hits, detections : float64 (hits, patients)
        By patient, how many hits and how many detections stand at or above each hit.
    truths : float64 (patients,)
        Ground truths by patient.
    """

    hits: Floats
    detections: Floats
    truths: Floats

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
            weights @ self.hits.T, weights @ self.detections.T, weights @ self.truths
        )


def ap50(scene: Scene, weights: Floats) -> dict[str, Floats]:
    """Return ``map`` and ``box_ap50``: COCO AP at IoU 0.5 of the classes, and of the box alone.

    Parameters
    ----------
    scene : Scene
    weights : float64 (samples, patients)
        How often each patient counts.

    Returns
    -------
    dict of float64 (samples,)
        Fractions, as `dsnet.evaluate.metrics.DEFINITIONS` defines them; NaN where undefined.
    """
    coco, _ = average_precisions(scene, weights, AP50_IOU)
    return {"map": mean_defined(coco[0]), "box_ap50": box_ap50(scene, weights)}


def box_ap50(scene: Scene, weights: Floats) -> Floats:
    """Return COCO AP at IoU 0.5 of the class-agnostic objects, float64 (samples,)."""
    objects = scene.objects
    hit = match(scene.overlap(objects), objects.image, AP50_IOU)[0] >= 0
    ranked = ranking(scene, objects, hit, scene.truth.label >= 0)
    return ranked.average_precision(weights)[0]


def average_precisions(scene: Scene, weights: Floats, thresholds: Floats) -> tuple[Floats, Floats]:
    """Return COCO and VOC AP, each (thresholds, classes, samples)."""
    shape = (len(thresholds), len(CLASSES), len(weights))
    coco, voc = np.empty(shape), np.empty(shape)
    for t, row in enumerate(class_rankings(scene, thresholds)):
        for k, ranked in enumerate(row):
            coco[t, k], voc[t, k] = ranked.average_precision(weights)
    return coco, voc


def class_rankings(scene: Scene, thresholds: Floats) -> list[list[Ranking]]:
    """Return the ranking of each class at each threshold of the IoU."""
    hits = match_by_class(scene, thresholds) >= 0
    detections = scene.detections
    of_class = [detections.label == k for k in range(len(CLASSES))]
    return [
        [
            ranking(scene, detections.take(rows), hit[rows], scene.truth.label == k)
            for k, rows in enumerate(of_class)
        ]
        for hit in hits
    ]


def match_by_class(scene: Scene, thresholds: Floats) -> Integers:
    """Return the slot that each detection takes among the ground truths of its own class.

    Returns
    -------
    int64 (thresholds, detections)
        -1 for none.
    """
    detections = scene.detections
    same = scene.truth.label[detections.image] == detections.label[:, None]
    overlap = np.where(same, scene.overlap(detections), -1.0)
    return match(overlap, detections.image * len(CLASSES) + detections.label, thresholds)


def ranking(scene: Scene, detections: Detections, hit: Flags, truths: Flags) -> Ranking:
    """Return the ranking of detections of a scene.

    Parameters
    ----------
    scene : Scene
    detections : Detections
    hit : bool (detections,)
        Whether each took a ground truth.
    truths : bool (images, slots)
        Ground truths that count.
    """
    patient = scene.patient[detections.image]
    return rank(detections.score, hit, patient, per_patient(scene, truths))


def rank(score: Floats, hit: Flags, patient: Integers, truths: Floats) -> Ranking:
    """Return the ranking of detections in descending order of score.

    Parameters
    ----------
    score : float64 (detections,)
        Equal scores stay in the order given, as in pycocotools.
    hit : bool (detections,)
        Whether each took a ground truth.
    patient : int64 (detections,)
        Index into `truths`.
    truths : float64 (patients,)
        Ground truths by patient.
    """
    order = np.argsort(-score, kind="stable")
    ranks = np.flatnonzero(hit[order])
    shape = (len(ranks), len(truths))
    hits, detections = np.zeros(shape), np.zeros(shape)
    hits[np.arange(len(ranks)), patient[order][ranks]] = 1
    # Each detection counts from the first hit at or below it; those after the last never do.
    until = np.searchsorted(ranks, np.arange(len(order)))
    counts = until < len(ranks)
    np.add.at(detections, (until[counts], patient[order][counts]), 1)
    return Ranking(hits.cumsum(axis=0), detections.cumsum(axis=0), truths)


def average_precision(hits: Floats, detections: Floats, truths: Floats) -> tuple[Floats, Floats]:
    """Return COCO's and VOC's average precision.

    Parameters
    ----------
    hits, detections : float64 (samples, hits)
        How many hits and how many detections stand at or above each hit, the best first.
    truths : float64 (samples,)
        Ground truths.

    Returns
    -------
    coco : float64 (samples,)
        Mean interpolated precision at the recalls 0, 0.01, ..., 1, as pycocotools.
    voc : float64 (samples,)
        Area under the interpolated curve at every point, as Pascal VOC since 2010.
        Both are NaN where there is no ground truth: COCO leaves such a class out.

    Examples
    --------
    The first and the third of three detections are hits; there are two ground truths:

    >>> coco, voc = average_precision(np.array([[1.0, 2]]), np.array([[1.0, 3]]), np.array([2.0]))
    >>> round(float(voc[0]), 4)
    0.8333
    """
    if hits.shape[1] == 0:
        none = np.where(truths > 0, 0.0, np.nan)
        return none, none
    precision = hits / (detections + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = hits / np.where(truths > 0, truths, np.nan)[:, None]
    reached = np.searchsorted(RECALLS, recall, side="right")
    coco = (precision * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
    voc = (precision * np.diff(recall, axis=1, prepend=0)).sum(axis=1)
    return np.where(truths > 0, coco, np.nan), voc


def per_patient(scene: Scene, marked: Flags) -> Floats:
    """Return how many slots (images, slots) of each patient are marked, float64 (patients,)."""
    counts = np.bincount(
        scene.patient, weights=marked.sum(axis=1), minlength=len(scene.patient_keys)
    )
    return counts.astype(np.float64)


def mean_defined(values: Floats) -> Floats:
    """Return the mean over the first axis of what is not NaN, NaN where nothing is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0.0).sum(axis=0)
    return ratio(total, count.astype(np.float64))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return `numerator` / `denominator`, NaN where `denominator` is 0."""
    quotient: Floats = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
