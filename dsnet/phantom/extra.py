"""Files that lie beside a patient's slices, each of which one criterion must exclude."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage
from scipy import ndimage

from dsnet.phantom.canvas import Plane
from dsnet.phantom.examination import Examination, put_pixels, save

_HU_SCALE = ("RescaleSlope", "RescaleIntercept", "RescaleType")


@dataclass(frozen=True)
class Scan:
    """An annotated slice of a patient, beside which the extras are written.

    Attributes
    ----------
    examination : Examination
    path : Path
        The slice's file.
    index : int
        The slice, from the head.
    hu : float32 array, shape (matrix, matrix)
    """

    examination: Examination
    path: Path
    index: int
    hu: Plane

    def header(self, series: int, description: str) -> Dataset:
        """Return the header of another series of the same examination."""
        return self.examination.header(series, self.examination.scanner.kernel, description)

    def save(self, dataset: Dataset, name: str) -> Path:
        """Write `dataset` under that name, uncompressed."""
        dataset.SOPInstanceUID = self.examination.uid(name)
        path = self.path.with_name(name)
        save(dataset, path, "explicit")
        return path


def text_file(scan: Scan) -> Path:
    """Write a letter."""
    path = scan.path.parent / "report.txt"
    path.write_bytes(f"Lumbar spine CT of {scan.examination.identity.name}.\r\n".encode())
    return path


def empty_file(scan: Scan) -> Path:
    """Write a file of no bytes."""
    path = scan.path.parent / "IM9001"
    path.write_bytes(b"")
    return path


def cut_header(scan: Scan) -> Path:
    """Write a slice that ends before its header says how large the image is."""
    path = scan.path.parent / "IM9002"
    path.write_bytes(scan.path.read_bytes()[:1000])
    return path


def cut_pixels(scan: Scan) -> Path:
    """Write a slice that ends within its pixels but carries the UID of the intact one."""
    path = scan.path.parent / "IM9003"
    content = scan.path.read_bytes()
    path.write_bytes(content[: len(content) - scan.hu.size])
    return path


def byte_copy(scan: Scan) -> Path:
    """Write the same bytes under a name that sorts last; an annotation names the UID of both."""
    path = scan.path.parent / f"{scan.path.stem}_copy{scan.path.suffix}"
    path.write_bytes(scan.path.read_bytes())
    return path


def unnamed_copy(scan: Scan) -> Path:
    """Write the same bytes under a name that sorts first, though annotations name the other."""
    path = scan.path.parent / "0_copy"
    path.write_bytes(scan.path.read_bytes())
    return path


def mr(scan: Scan) -> Path:
    """Write an MR image of the same place."""
    header = scan.header(801, "T2 TSE TRA")
    image = ndimage.gaussian_filter(np.where(scan.hu > -300, 300 - scan.hu, -1024), 1)
    dataset = scan.examination.axial(header, scan.index, 1, image)
    for keyword in ("KVP", "ConvolutionKernel", "GantryDetectorTilt", *_HU_SCALE):
        delattr(dataset, keyword)
    dataset.SOPClassUID, dataset.Modality = MRImageStorage, "MR"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    dataset.ScanningSequence, dataset.SequenceVariant = "SE", "SK"
    dataset.ScanOptions, dataset.MRAcquisitionType = "", "2D"
    dataset.RepetitionTime, dataset.EchoTime, dataset.EchoTrainLength = 3200, 98, 17
    return scan.save(dataset, "IM9004")


def secondary_capture(scan: Scan) -> Path:
    """Write a screen shot that calls itself CT."""
    dataset = scan.header(802, "DOSE REPORT")
    put_pixels(dataset, scan.hu.clip(0, 255), scan.examination.scanner)
    for keyword in ("ConvolutionKernel", *_HU_SCALE):
        delattr(dataset, keyword)
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.ConversionType = "WSD"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.InstanceNumber = 1
    return scan.save(dataset, "IM9005")


def localizer(scan: Scan) -> Path:
    """Write a frontal scout view."""
    waves = 1 + 0.06 * np.sin(np.arange(len(scan.hu), dtype=np.float32) / 9)
    shadow = waves[:, None] * scan.hu.clip(-1000).mean(axis=0)
    dataset = scan.examination.axial(scan.header(1, "SCOUT"), scan.index, 1, shadow)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    return scan.save(dataset, "IM9006")


def average(scan: Scan) -> Path:
    """Write an axial image that was computed from others."""
    smooth = ndimage.gaussian_filter(scan.hu, 1.5)
    dataset = scan.examination.axial(scan.header(803, "AVERAGE"), scan.index, 1, smooth)
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL", "AVERAGE"]
    return scan.save(dataset, "IM9007")


EXTRAS: dict[str, tuple[str, Callable[[Scan], Path]]] = {
    "text_file": ("unreadable", text_file),
    "empty_file": ("unreadable", empty_file),
    "cut_header": ("unreadable", cut_header),
    "cut_pixels": ("undecodable_pixels", cut_pixels),
    "byte_copy": ("duplicate", byte_copy),
    "unnamed_copy": ("duplicate", unnamed_copy),
    "mr": ("not_ct", mr),
    "secondary_capture": ("not_ct", secondary_capture),
    "localizer": ("not_original_axial", localizer),
    "average": ("not_original_axial", average),
}
"""The criterion that each extra must fall to, and what writes it."""
