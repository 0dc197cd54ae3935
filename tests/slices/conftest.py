"""A cohort of small CT files, and the tables that lead to them."""

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
from support.made_index import source_of

from dsnet import schemas
from dsnet.dicom import reader
from dsnet.dicom.evidence import Thresholds
from dsnet.files import write_json
from dsnet.private import PrivateCohort, open_private
from dsnet.schemas import CLASSES, LEVELS

SHAPE = (48, 40)
SPACING_MM = (2.0, 2.5)
BOX = (15.0, 20.0, 24.0, 29.5)
FILES = {
    "source": "source.json",
    "index": "index.parquet",
    "labels": "labels.csv",
    "split": "split.csv",
    "store": "slices.npy",
    "boxes": "slices.csv",
    "checks": "box_checks.csv",
    "digest": "slices.json",
}


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
    """Return an image with a body, and a value that distinguishes it from others."""
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
    """A cohort folder with its private side, and the tables of the steps before."""

    folder: Path
    private: Path
    own: PrivateCohort
    labels: pd.DataFrame
    index: pd.DataFrame
    identities: pd.DataFrame

    @property
    def dicom(self) -> Path:
        return self.folder / "dicom"

    def save(self, results: Path) -> dict[str, Path]:
        """Write the tables below `results`; return the paths that the step is given."""
        paths = {name: results / "cohort" / file for name, file in FILES.items()}
        schemas.write(schemas.MAP, self.identities, self.own.map_path)
        schemas.write(schemas.LABELS, self.labels, paths["labels"])
        schemas.write(schemas.INDEX, self.index, paths["index"])
        paths["split"].write_text("any bytes", encoding="utf-8")
        source = source_of(cohort_id=self.own.cohort_id, key=self.own.fingerprint)
        write_json(paths["source"], source.to_json())
        return {"cohort": self.folder, "private": self.private, **paths}


@pytest.fixture
def make_cohort(tmp_path: Path) -> Callable[..., Cohort]:
    def make(images: int, number: int = 0) -> Cohort:
        folder, private = tmp_path / f"cohort{number}", tmp_path / f"private{number}"
        own = open_private(private, f"{number:016x}", create=True)
        labels, index, identities = [], [], []
        for image in range(images):
            path = f"DOE/IM{image:04}"
            file = ct(folder / "dicom" / path, body(image))
            keys = {
                "file_key": own.pseudonym("file", path),
                "image_key": own.pseudonym("image", path),
                "patient_key": own.pseudonym("patient", str(image % 3)),
                "study_key": own.pseudonym("study", str(image % 3)),
            }
            edges = dict(zip(schemas.BOX, BOX, strict=True))
            label = {"t_score": "-1.0", "label": CLASSES[image % 3]}
            content = {"pixel_hash": pixel_hash(file)}
            labels.append(keys | {"level": LEVELS[image % 4]} | edges | label)
            index.append(keys | content | {"position_mm": float(image), "path_rank": image})
            identities.append(keys | content | {"relative_path": path})
        return Cohort(
            folder,
            private,
            own,
            schemas.LABELS.validate(pd.DataFrame(labels)[list(schemas.LABELS.columns)]),
            as_table(schemas.INDEX, index),
            as_table(schemas.MAP, identities),
        )

    return make


def as_table(schema: Any, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a table of `schema`; what `rows` do not give is blank, false or a usual word."""
    blank = {"Int64": None, "float64": None, "bool": False}
    usual = {"image_kind": "original", "vendor": "ge", "contrast": "none"}
    whole = [
        {
            name: row.get(name, usual.get(name, blank.get(str(column.dtype), "")))
            for name, column in schema.columns.items()
        }
        for row in rows
    ]
    types = {name: column.dtype.type for name, column in schema.columns.items()}
    return schema.validate(pd.DataFrame(whole).astype(types))
