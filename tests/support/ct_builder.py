"""Small CT datasets made on the spot, and readers that misbehave."""

import errno
import os
import signal
import time
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from dsnet.dicom import reader
from dsnet.dicom.evidence import Thresholds
from dsnet.dicom.reader import Facts, Limits

THRESHOLDS = Thresholds(metal_hu=2500, cement_hu=1500)


def ct_slice(hu: np.ndarray | None = None, **elements: object) -> Dataset:
    """Return an unsigned 12-bit slice of 16 x 16 pixels; `elements` replace or, by None, remove."""
    hu = np.full((16, 16), 40) if hu is None else hu
    stored = np.asarray(hu) + 1024
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.AcquisitionDate, dataset.SeriesDate, dataset.StudyDate = "20200229", "20200301", ""
    dataset.Modality, dataset.Manufacturer = "CT", "GE MEDICAL SYSTEMS"
    dataset.PatientID, dataset.PatientName = "000123", "Thornabee^Greta"
    dataset.ConvolutionKernel, dataset.SliceThickness = "BONEPLUS", 4
    dataset.KVP, dataset.Exposure, dataset.ReconstructionDiameter = 120, 150, 350
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 7]
    dataset.PixelSpacing = [0.5, 2.0]
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    """Write `dataset` as a file with preamble and file meta information."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID") or generate_uid()
    dataset.save_as(path, enforce_file_format=True)
    return path


def read(path: Path) -> Facts:
    """Return the facts of a file."""
    return reader.read(str(path), THRESHOLDS)


def deadly_read(path: str, thresholds: Thresholds, limits: Limits, *, decode: bool) -> Facts:
    """Read, but let the names of some files say what decoding them, or opening them, does."""
    name = Path(path).name
    if decode or name.startswith("ALWAYS_"):
        if name.endswith("DEADLY"):
            os.kill(os.getpid(), signal.SIGSEGV)
        elif name.endswith("ENDLESS"):
            time.sleep(3600)
        elif name.endswith("HUGE"):
            bytearray(1 << 40)
        elif name.endswith("KILLED"):
            os.kill(os.getpid(), signal.SIGKILL)
        elif name.endswith("FULL"):
            raise OSError(errno.ENOSPC, "No space left on device", path)
    return reader.read(path, thresholds, limits, decode=decode)
