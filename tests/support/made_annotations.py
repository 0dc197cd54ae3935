"""Index and map rows of a few images, and small writers of every annotation format."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import nibabel as nib
import numpy as np
import pandas as pd

from dsnet.cohort.annotations.collect import collect
from dsnet.config.cohort import Annotations
from dsnet.schemas import BOX

Edges = tuple[float, float, float, float]
Boxes = Mapping[str, Mapping[str, Edges]]
"""Edges by level, by path of the image."""

COLUMNS, ROWS = 100, 80
ANY_SIZE: Any = {"edge_mm": (1e-3, 1e4), "pitch_mm": (1e-3, 1e4), "missing_size": "dicom"}
"""Config under which boxes of a few pixels are bodies."""
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def key(number: int) -> str:
    return f"F-{number:016x}"


def images(
    *paths: str, uids: Sequence[str] = (), series: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return index and map of images of 100 x 80 pixels; an axial stack of 1 mm voxels."""
    count = len(paths)
    index = pd.DataFrame(
        {
            "file_key": [key(n) for n in range(count)],
            "series_key": list(series) or ["S1"] * count,
            "rows": pd.array([ROWS] * count, "Int64"),
            "columns": pd.array([COLUMNS] * count, "Int64"),
            "row_spacing_mm": 1.0,
            "column_spacing_mm": 1.0,
            "geometry_fault": "",
            "modality": "CT",
            "image_kind": "original",
        }
    )
    identities = pd.DataFrame(
        {
            "file_key": index["file_key"],
            "relative_path": paths,
            "patient_id": "007",
            "sop_instance_uid": list(uids) or [f"1.2.3.{n}" for n in range(count)],
            "series_instance_uid": ["8." + name for name in index["series_key"]],
            # Copies of an image lie where it lies.
            "plane": [
                f"0 0 {uids.index(uids[n]) if uids else n} 1 0 0 0 1 0" for n in range(count)
            ],
        }
    )
    return index, identities


def collected(
    folder: Path, tables: tuple[pd.DataFrame, pd.DataFrame], **params: Any
) -> pd.DataFrame:
    """Return what became of the annotations, of any size: a test may ask for another."""
    return collect(folder, *tables, Annotations(**{**ANY_SIZE, **params}))


def write_coco(folder: Path, boxes: Boxes) -> None:
    paths, levels = list(boxes), sorted({level for each in boxes.values() for level in each})
    content = {
        "images": [{"id": n, "file_name": path} for n, path in enumerate(paths)],
        "annotations": [
            {"image_id": n, "category_id": levels.index(level), "bbox": [x, y, u - x, v - y]}
            for n, path in enumerate(paths)
            for level, (x, y, u, v) in boxes[path].items()
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(levels)],
    }
    written(folder, "coco.json", json.dumps(content))


def write_labelme(folder: Path, boxes: Boxes) -> None:
    for number, (path, levels) in enumerate(boxes.items()):
        shapes = [
            {"label": level, "points": [[u, v], [x, y]], "shape_type": "rectangle"}
            if number % 2
            else {"label": level, "points": [[x, v], [u, y], [x, y]], "shape_type": "polygon"}
            for level, (x, y, u, v) in levels.items()
        ]
        size = {"imageWidth": COLUMNS, "imageHeight": ROWS}
        content = {"shapes": shapes, "imagePath": f"..\\dicom\\{path}", **size}
        written(folder, f"labelme/{number}.json", json.dumps(content))


def write_voc(folder: Path, boxes: Boxes) -> None:
    """Write edges: the tests' boxes are no whole pixels."""
    for number, (path, levels) in enumerate(boxes.items()):
        root = ET.Element("annotation")
        ET.SubElement(root, "filename").text = path
        size = ET.SubElement(root, "size")
        ET.SubElement(size, "width").text, ET.SubElement(size, "height").text = "100", "80"
        for level, edges in levels.items():
            entry = ET.SubElement(root, "object")
            ET.SubElement(entry, "name").text = level
            box = ET.SubElement(entry, "bndbox")
            for name, edge in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True):
                ET.SubElement(box, name).text = repr(edge)
        written(folder, f"voc/{number}.xml", ET.tostring(root, encoding="unicode"))


def write_yolo(folder: Path, boxes: Boxes) -> None:
    names = sorted({level for each in boxes.values() for level in each})
    written(folder, "yolo/data.yaml", json.dumps({"names": names}))
    for path, levels in boxes.items():
        lines = [
            f"{names.index(level)} {(x + u) / 2 / COLUMNS:.6f} {(y + v) / 2 / ROWS:.6f}"
            f" {(u - x) / COLUMNS:.6f} {(v - y) / ROWS:.6f}"
            for level, (x, y, u, v) in levels.items()
        ]
        written(folder, f"yolo/labels/{path.removesuffix('.dcm')}.txt", "\n".join(lines))


def write_csv(folder: Path, boxes: Boxes) -> None:
    """Write as a German spreadsheet does."""
    rows = [
        f"{path};{level};" + ";".join(repr(edge).replace(".", ",") for edge in edges)
        for path, levels in boxes.items()
        for level, edges in levels.items()
    ]
    written(folder, "boxes.csv", "\r\n".join([f"file_name;level;{';'.join(BOX)}", *rows]))


WRITERS = {
    "coco": (write_coco, {}),
    "labelme": (write_labelme, {}),
    "voc": (write_voc, {"voc": "edges"}),
    "yolo": (write_yolo, {}),
    "csv": (write_csv, {}),
}
"""How a format is written, and the config with which it is read."""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_nifti(path: Path, values: np.ndarray, affine_lps: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(values.astype(np.uint8), TO_RAS @ affine_lps)
    image.set_sform(image.affine, code=1)
    nib.save(image, path)
