"""pycocotools on a scene, the reference for average precision."""

import contextlib
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dsnet.evaluate.scene import Detections, Floats, Scene


def coco_ap(scene: Scene, detections: Detections, *, by_class: bool) -> Floats:
    """Return AP by threshold and class (one class when class-agnostic), NaN where COCO says -1."""
    label = scene.truth.label if by_class else np.minimum(scene.truth.label, 0)
    image, slot = np.nonzero(label >= 0)
    truths = [
        _annotation(i, scene.truth.box[i, s], label[i, s], ignore=0)
        for i, s in zip(image, slot, strict=True)
    ]
    predicted = detections.label if by_class else np.zeros_like(detections.label)
    results = [
        _annotation(*row[:3], score=row[3])
        for row in zip(detections.image, detections.box, predicted, detections.score, strict=True)
    ]
    classes = 3 if by_class else 1
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(
            _coco(scene, truths, classes), _coco(scene, results, classes), iouType="bbox"
        )
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, -1]
    return np.where(precision[:, 0] < 0, np.nan, precision.mean(axis=1))


def _annotation(image: int, box: Floats, label: int, **more: float) -> dict[str, Any]:
    x, y, right, bottom = (float(edge) for edge in box)
    sides = [x, y, right - x, bottom - y]
    return {
        "image_id": int(image) + 1,
        "category_id": int(label) + 1,
        "bbox": sides,
        "area": sides[2] * sides[3],
        "iscrowd": 0,
        **{name: float(value) for name, value in more.items()},
    }


def _coco(scene: Scene, annotations: list[dict[str, Any]], classes: int) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": number + 1} for number in range(len(scene.patient))],
        "categories": [{"id": number + 1} for number in range(classes)],
        "annotations": [{**row, "id": number + 1} for number, row in enumerate(annotations)],
    }
    coco.createIndex()
    return coco
