"""Stacks of slices anywhere in space, and masks on them as NIfTI and DICOM SEG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
import pandas as pd
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from scipy.spatial.transform import Rotation

from support.made_annotations import images


@dataclass(frozen=True)
class Stack:
    """Parallel slices of one series.

    Attributes
    ----------
    affine : (4, 4) float64
        From column, row and slice number to mm (LPS).
    shape : tuple of 3 int
        Columns, rows and slices.
    """

    affine: np.ndarray
    shape: tuple[int, int, int]
    name: str = "S1"

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return index and map; the paths are ``dicom/<name>/<slice number>``."""
        columns, rows, slices = self.shape
        index, identities = images(
            *(f"{self.name}/{n}" for n in range(slices)),
            uids=[f"{self.uid}.{n + 1}" for n in range(slices)],
            series=[self.name] * slices,
        )
        steps = np.linalg.norm(self.affine[:3, :2], axis=0)
        index = index.assign(
            file_key=[f"{self.name}-{n}" for n in range(slices)],
            columns=pd.array([columns] * slices, "Int64"),
            rows=pd.array([rows] * slices, "Int64"),
            column_spacing_mm=steps[0],
            row_spacing_mm=steps[1],
        )
        planes = [" ".join(map(repr, self.plane(n))) for n in range(slices)]
        identified = {"file_key": index["file_key"], "plane": planes}
        return index, identities.assign(series_instance_uid=self.uid, **identified)

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return f"1.2.826.{sum(self.name.encode())}"

    def plane(self, number: int) -> list[float]:
        """Return ImagePositionPatient and ImageOrientationPatient of a slice."""
        corner = self.affine @ [0, 0, number, 1]
        unit = self.affine[:3, :2] / np.linalg.norm(self.affine[:3, :2], axis=0)
        return [float(x) for x in (*corner[:3], *unit[:, 0], *unit[:, 1])]

    def headers(self) -> list[Dataset]:
        """Return what highdicom wants to know of the slices."""
        return [self._header(number) for number in range(self.shape[2])]

    def _header(self, number: int) -> Dataset:
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, f"{self.uid}.{number + 1}"
        header.SeriesInstanceUID, header.StudyInstanceUID = self.uid, "1.2.3"
        header.FrameOfReferenceUID, header.Modality = "1.2.4", "CT"
        header.PatientID, header.PatientName = "007", "Doe^Jane"
        for keyword in ("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "PatientSex"):
            setattr(header, keyword, "")
        header.PatientBirthDate = header.ReferringPhysicianName = ""
        plane = [f"{x:.10f}"[:16] for x in self.plane(number)]
        header.ImagePositionPatient, header.ImageOrientationPatient = plane[:3], plane[3:]
        steps = np.linalg.norm(self.affine[:3], axis=0)
        header.PixelSpacing, header.SliceThickness = [steps[1], steps[0]], steps[2]
        header.Columns, header.Rows = self.shape[:2]
        return header


def write_seg(
    path: Path, stack: Stack, values: np.ndarray, names: dict[int, str], kind: str = "BINARY"
) -> None:
    """Write labels (columns, rows, slices) as one segment each; a name may be a code's keyword."""
    labels = np.zeros(values.shape, np.uint8)
    for number, label in enumerate(names, start=1):
        labels[values == label] = number
    described = [
        hd.seg.SegmentDescription(
            number,
            f"Segment_{number}" if hasattr(codes.SCT, name) else name,
            codes.SCT.AnatomicalStructure,
            getattr(codes.SCT, name, codes.SCT.Bone),
            "MANUAL",
        )
        for number, name in enumerate(names.values(), start=1)
    ]
    pixels = np.ascontiguousarray(labels.transpose(2, 1, 0))
    equipment = (f"{stack.uid}.0", 1, f"{stack.uid}.0.1", 1, "maker", "model", "1", "0")
    hd.seg.Segmentation(stack.headers(), pixels, kind, described, *equipment).save_as(path)


def joined(*stacks: Stack) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return index and map of several series."""
    indices, maps = zip(*(stack.tables() for stack in stacks), strict=True)
    return pd.concat(indices, ignore_index=True), pd.concat(maps, ignore_index=True)


def turned(
    values: np.ndarray, affine: np.ndarray, order: Sequence[int], flips: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume stored with its axes in another order, those of the bits `flips` reversed."""
    values, affine = values.transpose(order), affine[:, [*order, 3]].copy()
    for axis in range(3):
        if flips >> axis & 1:
            values = np.flip(values, axis)
            affine[:3, 3] += affine[:3, axis] * (values.shape[axis] - 1)
            affine[:3, axis] *= -1
    return values, affine


def placed_at(
    angles_deg: Sequence[float],
    steps_mm: Sequence[float],
    shape: tuple[int, ...],
    centre_mm: np.ndarray,
) -> np.ndarray:
    """Return the affine of a turned grid whose middle lies at `centre_mm`."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(angles_deg) * np.array(steps_mm)
    affine[:3, 3] = centre_mm - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def rotation(angles_deg: Sequence[float]) -> np.ndarray:
    return Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
