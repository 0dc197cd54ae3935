"""Ground truth and results in COCO's format: ``python -m dsnet.evaluate.coco``.

With both, ``COCOeval(COCO(truth), truth.loadRes(results), "bbox")`` of pycocotools gives our AP. An
image's id is its row in the slice store plus one; its only other name is its pseudonym.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from dsnet import schemas
from dsnet.evaluate.provenance import data_note, read_grid, read_provenance
from dsnet.evaluate.scene import Scene
from dsnet.files import write_text
from dsnet.schemas import BOX, CLASSES
from dsnet.step import run

Json = dict[str, Any]


def write_truth(*, digest: Path, boxes: Path, split: Path, truth: Path) -> None:
    """Write the ground truth of the test subset, on the grid of the slice store.

    Parameters
    ----------
    digest : Path
        ``slices.json``: the grid and the cohort.
    boxes, split : Path
        `schemas.SLICES` and `schemas.SPLIT`.
    truth : Path
        JSON to write.
    """
    annotated = schemas.read(schemas.SLICES, boxes)
    images = schemas.read(schemas.SPLIT, split)
    test = annotated["image_key"].isin(images.loc[images["subset"] == "test", "image_key"])
    note = data_note(read_provenance(digest, split))
    write_compact(truth, ground_truth(annotated[test], read_grid(digest)["size_px"], note))


def ground_truth(boxes: pd.DataFrame, size_px: int, note: str) -> Json:
    """Return the boxes as a COCO dataset.

    Parameters
    ----------
    boxes : DataFrame
        Rows of `schemas.SLICES`.
    size_px : int
        Rows and columns of an image.
    note : str
        What the boxes were made from.
    """
    images = boxes.drop_duplicates("image_key").sort_values("row")
    return {
        "info": {"description": f"Test subset of {note}"},
        "categories": [{"id": 1 + k, "name": name} for k, name in enumerate(CLASSES)],
        "images": [
            {"id": 1 + row, "file_name": key, "width": size_px, "height": size_px}
            for row, key in zip(images["row"].tolist(), images["image_key"], strict=True)
        ],
        "annotations": [
            {
                "id": 1 + number,
                "image_id": 1 + row["row"],
                "category_id": 1 + CLASSES.index(row["label"]),
                **_box(*(row[edge] for edge in BOX)),
                "iscrowd": 0,
                "level": row["level"],
            }
            for number, row in enumerate(boxes.sort_values(["row", "level"]).to_dict("records"))
        ],
    }


def results(scene: Scene) -> list[Json]:
    """Return the detections of a scene as COCO results, in the order that breaks equal scores."""
    detections = scene.detections
    return [
        {
            "image_id": 1 + row,
            "category_id": 1 + label,
            "bbox": _box(*edges)["bbox"],
            "score": score,
        }
        for row, label, edges, score in zip(
            scene.row[detections.image].tolist(),
            detections.label.tolist(),
            detections.box.tolist(),
            detections.score.tolist(),
            strict=True,
        )
    ]


def write_compact(path: Path, value: Any) -> None:
    """Write `value` as JSON on one line: a results file has a row for each of 100,000 boxes."""
    write_text(path, json.dumps(value, separators=(",", ":"), allow_nan=False) + "\n")


def _box(x_min: float, y_min: float, x_max: float, y_max: float) -> Json:
    """Return the keys of a box with the edges of `schemas.BOX`."""
    width, height = x_max - x_min, y_max - y_min
    return {"bbox": [x_min, y_min, width, height], "area": width * height}


if __name__ == "__main__":
    run(write_truth)
