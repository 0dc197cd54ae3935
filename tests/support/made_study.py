"""A study made on the spot, and a model whose detector finds bright bone by its HU."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from dsnet import schemas
from dsnet.config.detector import Detector, Variant
from dsnet.detect.model import build
from dsnet.files import write_json
from dsnet.train import checkpoints
from dsnet.use.trained import Detections, Facts, Model
from support.ct_builder import ct_slice, save

PATIENT_ID, PATIENT_NAME = "H0815-77", "Quibbleworth^Ottoline"

ROWS, COLUMNS = 90, 100
ROW_MM, COLUMN_MM = 3.0, 2.5
BODY_PX = (42.0, 50.0, 60.0, 62.0)
"""Edges of the vertebral body in the file's pixels: 45 mm wide, 36 mm deep."""

_ORIGIN_MM = (-120.0, -130.0)


def image(bone_hu: int = 200) -> NDArray[np.int64]:
    """Return a body of 40 HU in air, with a vertebral body of `bone_hu` unless that is 0."""
    hu = np.full((ROWS, COLUMNS), -1000)
    hu[10:80, 12:88] = 40
    if bone_hu:
        x_min, y_min, x_max, y_max = (int(edge) for edge in BODY_PX)
        hu[y_min:y_max, x_min:x_max] = bone_hu
    return hu


def write_study(
    folder: Path,
    bone_hu: dict[float, int],
    *,
    turned: bool = False,
    patient_id: str = PATIENT_ID,
    **elements: Any,
) -> Path:
    """Write one series, a slice for each z in mm, with the HU of its vertebral body.

    Parameters
    ----------
    bone_hu : dict of float to int
        By z; 0 for a slice without bone.
    turned : bool
        Whether the image lies as that of a prone patient whose rows lead to the right.
    elements
        DICOM elements by keyword.
    """
    study, series, frame = (generate_uid() for _ in range(3))
    for number, (z_mm, hu) in enumerate(bone_hu.items()):
        pixels, x_mm, y_mm = image(hu), *_ORIGIN_MM
        axes = [1, 0, 0, 0, 1, 0]
        if turned:
            pixels = pixels[::-1, ::-1]
            x_mm, y_mm = x_mm + (COLUMNS - 1) * COLUMN_MM, y_mm + (ROWS - 1) * ROW_MM
            axes = [-1, 0, 0, 0, -1, 0]
        values = {
            "PatientID": patient_id,
            "PatientName": PATIENT_NAME,
            "PatientBirthDate": "19500101",
            "PatientSex": "F",
            "StudyInstanceUID": study,
            "SeriesInstanceUID": series,
            "FrameOfReferenceUID": frame,
            "StudyDate": "20200301",
            "StudyTime": "120000",
            "AccessionNumber": "",
            "StudyID": "1",
            "ReferringPhysicianName": "",
            "SeriesNumber": 2,
            "InstanceNumber": number + 1,
            "PositionReferenceIndicator": "",
            "PixelSpacing": [ROW_MM, COLUMN_MM],
            "ImagePositionPatient": [x_mm, y_mm, z_mm],
            "ImageOrientationPatient": axes,
            **elements,
        }
        save(ct_slice(pixels, **values), folder / f"IM{number:04d}")
    return folder


def body_mm(z_mm: float) -> list[float]:
    """Return two opposite corners of the vertebral body in patient coordinates."""
    x_mm, y_mm = _ORIGIN_MM[0] - COLUMN_MM / 2, _ORIGIN_MM[1] - ROW_MM / 2
    x_min, y_min, x_max, y_max = BODY_PX
    return [
        x_mm + x_min * COLUMN_MM,
        y_mm + y_min * ROW_MM,
        z_mm,
        x_mm + x_max * COLUMN_MM,
        y_mm + y_max * ROW_MM,
        z_mm,
    ]


DETECTOR = Detector(weights="none", proposals=20)


def write_run(folder: Path, variant: Variant, *, seed: int = 0) -> Path:
    """Write a run folder as training leaves it, with untrained weights on a grid of 64 x 4 mm."""
    grid = {"size_px": 64, "pixel_mm": 4.0}
    checkpoints.save(
        build(DETECTOR, variant, **grid, seed=seed).state_dict(), folder / "weights.pt"
    )
    settings = {
        "variant": variant.model_dump(),
        "seed": seed,
        "detector": DETECTOR.model_dump(mode="json"),
        "train": {"epochs": 1},
    }
    data = {"digest_sha256": "0" * 64, "cohort": "made", "synthetic": True, "leaky": False}
    write_json(
        folder / "manifest.json",
        {
            "commit": "unknown",
            "versions": {"torch": torch.__version__},
            "settings": settings,
            "data": {**data, **grid},
            "start": {"source": "none"},
            "machine": {},
            "result": {"epoch": 1, "epochs": 1, "parameters": 7, "gamma": {}},
        },
    )
    history = pd.DataFrame([dict.fromkeys(schemas.HISTORY.columns, 1.0)]).astype({"epoch": int})
    schemas.write(schemas.HISTORY, history, folder / "history.csv")
    return folder


class ModelByHu(Model):
    """A model whose detector is a threshold of HU, in place of a network."""

    @property
    def detect(self) -> Any:  # type: ignore[override]  # a function, too
        return detect_bone


def model(**facts: Any) -> Model:
    """Return the model; `facts` replace those of a synthetic training on a grid of 96 x 2.5 mm."""
    values: dict[str, Any] = {
        "name": "resnet50/none/seed0",
        "variant": Variant(),
        "detector": Detector(weights="none"),
        "train": {},
        "size_px": 96,
        "pixel_mm": 2.5,
        "cohort": "made",
        "synthetic": True,
        "leaky": False,
        "result": {"epoch": 1, "epochs": 1},
        "start": {"source": "none"},
        "versions": {},
        "commit": "unknown",
        **facts,
    }
    return ModelByHu(Facts(**values), "0" * 64, Path("made"))


def detect_bone(hu: NDArray[np.int16]) -> Detections:
    """Return one box about the pixels above 120 HU, graded by their mean, on each image."""
    found = []
    for one in hu:
        rows, columns = np.nonzero(one > 120)
        boxes, labels, probabilities = [], [], []
        if len(rows):
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            label = int(one[rows, columns].mean() < 250) + int(one[rows, columns].mean() < 180)
            labels.append(label + 1)
            vector = np.full(4, 0.05)
            vector[label + 1] = 0.85
            probabilities.append(vector)
        found.append(
            {
                "boxes": np.array(boxes, dtype=np.float32).reshape(-1, 4),
                "labels": np.array(labels, dtype=np.int64),
                "scores": np.full(len(labels), 0.85, dtype=np.float32),
                "probabilities": np.array(probabilities, dtype=np.float32).reshape(-1, 4),
            }
        )
    return found
