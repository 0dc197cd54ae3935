"""False boxes on images that show nothing, against counts made by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from dsnet.config.evaluate import Evaluate
from dsnet.evaluate.curves import false_boxes, with_negatives
from dsnet.evaluate.scene import scene

BOX = (10.0, 10.0, 30.0, 30.0)
PARAMS = Evaluate(bootstrap=100)


def prediction(image: str, edges: tuple[float, ...], probability: float) -> dict[str, Any]:
    return {
        "image_key": image,
        **dict(zip(("x_min", "y_min", "x_max", "y_max"), edges, strict=True)),
        "label": "normal",
        "score": probability,
        "p_background": 1 - probability,
        "p_normal": probability,
        "p_osteopenia": 0.0,
        "p_osteoporosis": 0.0,
    }


def annotated() -> Any:
    edges = dict(zip(("x_min", "y_min", "x_max", "y_max"), BOX, strict=True))
    boxes = pd.DataFrame(
        [
            {"row": n, "image_key": f"I{n}", "level": "L1", "label": "normal", **edges}
            for n in range(2)
        ]
    )
    split = pd.DataFrame({"image_key": ["I0", "I1"], "patient_key": ["P0", "P1"]})
    found = pd.DataFrame([prediction("I0", BOX, 0.9), prediction("I1", BOX, 0.8)])
    return scene(found, boxes, split)


NEGATIVES = pd.DataFrame(
    {
        "row": [0, 1, 2],
        "image_key": ["N0", "N1", "N2"],
        "patient_key": ["P1", "P1", "P2"],
        "reason": ["T12", "L5", "L5"],
    }
)
FOUND = pd.DataFrame(
    [
        prediction("N0", (0, 0, 9, 9), 0.85),
        prediction("N0", (20, 20, 29, 29), 0.7),
        prediction("N1", (0, 0, 9, 9), 0.3),
    ]
)


def test_false_boxes_per_image_by_reason_and_by_patient() -> None:
    found = false_boxes(annotated(), NEGATIVES, FOUND, PARAMS)
    assert (found["images"], found["patients"]) == (3, 2)
    assert found["false_boxes_per_image"]["value"] == pytest.approx(2 / 3)
    assert found["by_reason"] == {
        "L5": {"images": 2, "false_boxes_per_image": 0.0},
        "T12": {"images": 1, "false_boxes_per_image": 2.0},
    }


def test_froc_counts_the_false_boxes_of_all_images() -> None:
    curve = false_boxes(annotated(), NEGATIVES, FOUND, PARAMS)["froc"]["image"]
    # In order of score: hit 0.9, false 0.85, hit 0.8, two more false ones; five images.
    first_whole = curve["sensitivity"].index(1.0)
    assert curve["false_per_image"][first_whole] == pytest.approx(1 / 5)
    assert curve["false_per_image"][-1] == pytest.approx(3 / 5)


def test_images_that_show_nothing_are_added_after_the_others() -> None:
    every = with_negatives(annotated(), NEGATIVES, FOUND)
    assert every.patient.tolist() == [0, 1, 1, 1, 2]
    assert (every.truth.label[2:] == -1).all()
    assert np.bincount(every.detections.image, minlength=5).tolist() == [1, 1, 2, 1, 0]


def test_without_negatives_nothing_changes() -> None:
    own = annotated()
    assert with_negatives(own, NEGATIVES[:0], FOUND[:0]) is own
    found = false_boxes(own, NEGATIVES[:0], FOUND[:0], PARAMS)
    assert found["false_boxes_per_image"] is None
    assert found["images"] == 0
