"""False boxes on slices that show no body of L1 to L4, and FROC over all images."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from dsnet.config.evaluate import Evaluate
from dsnet.evaluate.curves import froc
from dsnet.evaluate.grading import Share
from dsnet.evaluate.resampling import bootstrap_weights, estimate
from dsnet.evaluate.scene import Detections, Scene, Truth, best_first, scene


def false_boxes(
    annotated: Scene, negatives: pd.DataFrame, predictions: pd.DataFrame, params: Evaluate
) -> dict[str, Any]:
    """Return how many false boxes negatives have, and the FROC of all images.

    Parameters
    ----------
    annotated : Scene
        The annotated images of the subset with their detections.
    negatives : DataFrame
        `dsnet.slice_tables.NEGATIVES` of the same subset.
    predictions : DataFrame
        `dsnet.schemas.PREDICTIONS` on them.
    params : Evaluate

    Returns
    -------
    dict
        ``images`` and ``patients``; ``false_boxes_per_image`` with its interval over patients, at
        the operating point; ``by_reason``, the same without interval for each reason of
        `NEGATIVES`; ``froc``, as `dsnet.evaluate.curves.froc`, of annotated images and negatives.
    """
    every = with_negatives(annotated, negatives, predictions)
    first = len(annotated.patient)
    objects = every.objects.take(every.objects.score >= params.score)
    of_image = np.bincount(objects.image, minlength=len(every.patient))[first:]
    patients, group = np.unique(every.patient[first:], return_inverse=True)
    share = Share(
        np.bincount(group, of_image, minlength=len(patients)).astype(np.float64),
        np.bincount(group, minlength=len(patients)).astype(np.float64),
    )
    weights = bootstrap_weights(len(patients), params.bootstrap, params.seed)
    by_reason = pd.Series(of_image).groupby(negatives["reason"].to_numpy()).agg(["size", "mean"])
    return {
        "images": len(negatives),
        "patients": len(patients),
        "false_boxes_per_image": estimate(share.of(weights)) if len(patients) else None,
        "by_reason": {
            str(reason): {"images": int(size), "false_boxes_per_image": float(mean)}
            for reason, size, mean in by_reason.itertuples(name=None)
        },
        "froc": froc(every, params.iou),
    }


def with_negatives(annotated: Scene, negatives: pd.DataFrame, predictions: pd.DataFrame) -> Scene:
    """Return a scene with images that show nothing, after its own."""
    if not len(negatives):
        return annotated
    keys = list(annotated.patient_keys)
    keys += [key for key in negatives["patient_key"].unique() if key not in keys]
    patient = pd.Index(keys).get_indexer(pd.Index(negatives["patient_key"])).astype(np.int64)
    # As one box each, which is then taken away: the tables of a scene have a row for each box.
    placed = negatives[["row", "image_key", "patient_key"]].assign(
        level="L1", label="normal", x_min=0.0, y_min=0.0, x_max=1.0, y_max=1.0
    )
    empty = scene(predictions, placed, placed.assign(subset="test"))
    slots = annotated.truth.label.shape[1]
    count = len(negatives)
    truth = annotated.truth
    one, two = annotated.detections, empty.detections
    detections = Detections(
        np.concatenate([one.image, two.image + len(annotated.patient)]),
        *(
            np.concatenate([getattr(one, name), getattr(two, name)])
            for name in ("box", "label", "score", "probability")
        ),
    )
    return replace(
        annotated,
        patient=np.concatenate([annotated.patient, patient]),
        patient_keys=tuple(keys),
        truth=Truth(
            np.concatenate([truth.box, np.zeros((count, slots, 4))]),
            np.concatenate([truth.label, np.full((count, slots), -1)]),
            np.concatenate([truth.level, np.full((count, slots), -1)]),
        ),
        detections=best_first(detections),
        row=np.concatenate([annotated.row, np.full(count, -1)]),
    )
