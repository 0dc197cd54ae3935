"""A cohort of small CT files, and the tables that lead to them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.dicom import reader
from dsnet.dicom.pixels import Thresholds
from dsnet.pseudonym import Vault, open_vault
from dsnet.schemas import CLASSES, LEVELS

SHAPE = (48, 40)
SPACING_MM = (2.0, 2.5)
BOX = (15.0, 20.0, 24.0, 29.5)


@pytest.fixture(scope="session")
def write_ct() -> Callable[..., Path]:
    return ct


def ct(path: Path, stored: NDArray[Any], **elements: Any) -> Path:
    """Write a CT image of 16-bit `stored` values, HU + 1024 unless `elements` say otherwise."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [0, 0, 0]
    data.PixelSpacing = list(SPACING_MM)
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = stored.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = int(stored.dtype == np.int16)
    for name, value in elements.items():
        setattr(data, name, value)
    data.PixelData = stored.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def body(number: int) -> NDArray[np.uint16]:
    """Return an image with a body, and a value that tells it from others."""
    stored = np.zeros(SHAPE, np.uint16)
    stored[8:40, 6:34] = 1064
    stored[20:29, 15:24] = 1200 + number
    return stored


def pixel_hash(path: Path) -> str:
    evidence = reader.read(str(path), Thresholds(2500, 1500)).evidence
    assert evidence is not None
    return evidence.pixel_hash


@dataclass
class Cohort:
    folder: CohortFolder
    private: Path
    labels: pd.DataFrame
    index: pd.DataFrame
    places: pd.DataFrame

    @property
    def vault(self) -> Vault:
        return open_vault(self.private, self.folder, create=True)

    def save(self, results: Path) -> dict[str, Path]:
        """Write the tables; return the paths that the step is given."""
        schemas.write(schemas.MAP, self.places, self.vault.map_path)
        paths = {"cohort": self.folder.path, "private": self.private}
        for name in ("labels.csv", "index.parquet", "split.csv", "slices.npy", "slices.csv"):
            paths[{"slices.npy": "store", "slices.csv": "boxes"}.get(name, name.split(".")[0])] = (
                results / name
            )
        schemas.write(schemas.LABELS, self.labels, paths["labels"])
        schemas.write(schemas.INDEX, self.index, paths["index"])
        paths["split"].write_text("any bytes", encoding="utf-8")
        return paths | {"digest": results / "slices.json"}


@pytest.fixture
def make_cohort(tmp_path: Path) -> Callable[..., Cohort]:
    def make(images: int, key_of: int = 0) -> Cohort:
        path = tmp_path / f"cohort{key_of}"
        path.mkdir(exist_ok=True)
        about = {"name": "made", "synthetic": True, "phantom_seed": key_of}
        (path / "cohort.json").write_text(json.dumps(about), encoding="utf-8")
        folder = CohortFolder(path)
        vault = open_vault(tmp_path / "private", folder, create=True)
        labels, index, places = [], [], []
        for number in range(images):
            relative = f"DOE/IM{number:04}"
            file = ct(folder.dicom / relative, body(number))
            keys = {
                "file_key": vault.pseudonym("file", relative),
                "image_key": vault.pseudonym("image", relative),
                "patient_key": vault.pseudonym("patient", str(number % 3)),
                "study_key": vault.pseudonym("study", str(number % 3)),
            }
            edges = dict(zip(schemas.BOX, BOX, strict=True))
            label = {"t_score": "-1.0", "label": CLASSES[number % 3]}
            labels.append(keys | {"level": LEVELS[number % 4]} | edges | label)
            index.append(keys | {"pixel_hash": pixel_hash(file), "position_mm": float(number)})
            places.append(keys | {"relative_path": relative})
        return Cohort(
            folder,
            tmp_path / "private",
            schemas.LABELS.validate(
                pd.DataFrame(labels)[list(schemas.LABELS.columns)],
            ),
            as_table(schemas.INDEX, index),
            as_table(schemas.MAP, places),
        )

    return make


def as_table(schema: Any, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a table of `schema`; what `rows` do not tell is blank, false or a usual word."""
    blank = {"Int64": None, "float64": None, "bool": False}
    usual = {"image_kind": "original", "vendor": "ge", "contrast": "none"}
    whole = [
        {
            name: row.get(name, usual.get(name, blank.get(str(column.dtype), "")))
            for name, column in schema.columns.items()
        }
        for row in rows
    ]
    kinds = {name: column.dtype.type for name, column in schema.columns.items()}
    return schema.validate(pd.DataFrame(whole).astype(kinds))
