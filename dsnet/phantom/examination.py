"""One CT examination: a vendor's scanner with its settings, and its slices as DICOM files.

Headers are true to the CT Image IOD (PS3.3 A.3).
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)

from dsnet.config.cohort import Phantom
from dsnet.phantom.person import Identity, add_identifiers, add_overlay, item
from dsnet.phantom.raster import Plane, digitise
from dsnet.private import PHANTOM_UID_ROOT

SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg2000": JPEG2000Lossless,
    "deflated": DeflatedExplicitVRLittleEndian,
}
_NO_AGENT = (None, "", "None", "NO", "N/A")
"""What hospitals write where there was no contrast agent; None leaves the attribute out."""


@dataclass(frozen=True)
class Vendor:
    """What is typical of one vendor's files.

    Attributes
    ----------
    manufacturer, model : str
    bone_kernels : tuple of str
    soft_kernel : str
    signed : bool
        Whether stored values are signed 16 bit, instead of unsigned 12 bit.
    intercept : int
        RescaleIntercept (0028,1052).
    image_type : tuple of str
        ImageType (0008,0008) of an original axial slice.
    """

    manufacturer: str
    model: str
    bone_kernels: tuple[str, ...]
    soft_kernel: str
    signed: bool
    intercept: int
    image_type: tuple[str, ...]


VENDORS = {
    "ge": Vendor(
        "GE MEDICAL SYSTEMS",
        "Revolution EVO",
        ("BONE", "BONEPLUS"),
        "STANDARD",
        True,
        -1024,
        ("ORIGINAL", "PRIMARY", "AXIAL"),
    ),
    "siemens": Vendor(
        "SIEMENS",
        "SOMATOM Definition AS",
        ("B60s", "B70s", "Br60f", "Br64d"),
        "B30f",
        False,
        -1024,
        ("ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"),
    ),
    "philips": Vendor(
        "Philips",
        "Ingenuity CT",
        ("D", "YC", "YD"),
        "B",
        False,
        -1024,
        ("ORIGINAL", "PRIMARY", "AXIAL", "HELIX"),
    ),
    "canon": Vendor(
        "TOSHIBA",
        "Aquilion PRIME",
        ("FC30", "FC81"),
        "FC08",
        True,
        0,
        ("ORIGINAL", "PRIMARY", "AXIAL"),
    ),
}


@dataclass(frozen=True)
class Protocol:
    """The settings of one examination that must not depend on the patient's class.

    Attributes
    ----------
    vendor, syntax : str
        Keys of `VENDORS` and `SYNTAXES`.
    kernel : str
        One of the vendor's bone kernels.
    thickness_mm : float
        Of a slice.
    field : float
        Field of view, from 0 for the smallest to 1 for the largest.
    """

    vendor: str
    syntax: str
    kernel: str
    thickness_mm: float
    field: float


@dataclass(frozen=True)
class Scanner:
    """The settings of one examination.

    Attributes
    ----------
    vendor : Vendor
    kernel : str
        ConvolutionKernel (0018,1210) of the annotated series.
    bone : bool
        Whether the kernel of the annotated series is a bone kernel.
    syntax : str
        Key of `SYNTAXES`.
    matrix_px : int
    spacing_mm, thickness_mm, step_mm : float
        Pixel edge, slice thickness, distance between slices.
    top_mm : float
        z of the first slice.
    table_mm : tuple of float
        x and y of the image's centre in the patient's coordinates.
    jitter_mm : tuple of float
        How far the image's centre lies off the one that was aimed at.
    noise_hu : float
        Standard deviation of the noise.
    tube_kvp : int
        Tube voltage, KVP (0018,0060).
    shift_hu : float
        Added to every pixel.
    """

    vendor: Vendor
    kernel: str
    bone: bool
    syntax: str
    matrix_px: int
    spacing_mm: float
    thickness_mm: float
    step_mm: float
    top_mm: float
    table_mm: tuple[float, float]
    jitter_mm: tuple[float, float]
    noise_hu: float
    tube_kvp: int
    shift_hu: float

    @property
    def field_mm(self) -> float:
        """Edge of the image."""
        return self.matrix_px * self.spacing_mm

    def centre_mm(self, trunk_mm: tuple[float, float]) -> tuple[float, float]:
        """Return the image's centre, given the trunk's, both relative to the spine.

        Small fields are centred on the spine, large ones on the trunk.
        """
        whole = min(max((self.field_mm - 200) / 160, 0.0), 1.0)
        x, y = (whole * trunk_mm[0], whole * trunk_mm[1] + (1 - whole) * 6)
        return x + self.jitter_mm[0], y + self.jitter_mm[1]


def sample_scanner(
    rng: np.random.Generator, protocol: Protocol, kernel: str, params: Phantom, number: int
) -> Scanner:
    """Return the settings of one examination.

    Parameters
    ----------
    rng : Generator
    protocol : Protocol
    kernel : str
        "bone" for the protocol's, "soft" for the vendor's soft kernel, or the name of a bone kernel
        that no vendor's list holds.
    params : Phantom
    number : int
        Of the patient; tube voltages take turns.
    """
    vendor = VENDORS[protocol.vendor]
    # Spine views show part of the trunk, abdominal ones all of it; 1.5 mm still resolves a cortex.
    smallest_mm, largest_mm = 180.0, min(380.0, 1.5 * params.matrix_px)
    field_mm = smallest_mm + protocol.field * (largest_mm - smallest_mm)
    return Scanner(
        vendor=vendor,
        kernel={"bone": protocol.kernel, "soft": vendor.soft_kernel}.get(kernel, kernel),
        bone=kernel != "soft",
        syntax=protocol.syntax,
        matrix_px=params.matrix_px,
        spacing_mm=round(field_mm / params.matrix_px, 4),
        thickness_mm=protocol.thickness_mm,
        step_mm=round(float(rng.uniform(34, 39)) / params.slices_per_level, 2),
        top_mm=round(float(rng.uniform(-400, 400)), 2),
        table_mm=(round(float(rng.normal(0, 8)), 1), round(float(rng.normal(-140, 15)), 1)),
        jitter_mm=(float(rng.normal(0, 4)), float(rng.normal(0, 4))),
        noise_hu=float(rng.uniform(16, 27)) * params.noise_factor,
        tube_kvp=params.tube_kvp[number % len(params.tube_kvp)],
        shift_hu=params.shift_hu,
    )


@dataclass(frozen=True)
class Examination:
    """What all files of one patient share.

    Attributes
    ----------
    seed, number : int
        Of the cohort and of the patient; all UIDs follow from them.
    identity : Identity
    scanner : Scanner
    agent : str
        Contrast agent, "" for none.
    tilt_deg : float
        Of the gantry.
    """

    seed: int
    number: int
    identity: Identity
    scanner: Scanner
    agent: str
    tilt_deg: float

    def uid(self, *parts: object) -> str:
        """Return the UID that belongs to `parts`, the same in every run.

        It begins with the phantom's root and the seed, so that no other cohort can be taken for the
        phantom. 80 bits of SHA-256 follow: with a seed of ten digits, 64 characters at most.
        """
        digest = hashlib.sha256(f"dsnet phantom {self.seed} {self.number} {parts}".encode())
        return f"{PHANTOM_UID_ROOT}{self.seed}.{int.from_bytes(digest.digest()[:10], 'big')}"

    def image_uid(self, series: int, index: int) -> str:
        """Return the SOP Instance UID of slice `index` of a series."""
        return self.uid("image", series, index)

    def header(self, series: int, kernel: str, description: str) -> Dataset:
        """Return the attributes that all slices of a series share."""
        dataset = item(
            **self._patient(),
            **self._study(),
            **self._series(series, description),
            **self._acquisition(kernel),
        )
        add_identifiers(dataset, self.identity)
        if self.number % 4 == 1:
            add_overlay(dataset, self.identity, self.scanner.matrix_px)
        return dataset

    def axial(self, header: Dataset, index: int, instance: int | None, hu: Plane) -> Dataset:
        """Return slice `index` from the head of the series `header`."""
        scanner = self.scanner
        dataset = Dataset()
        dataset.update(header)
        dataset.SOPInstanceUID = self.image_uid(int(header.SeriesNumber), index)
        dataset.InstanceNumber = instance
        corner = (scanner.field_mm - scanner.spacing_mm) / 2
        z = scanner.top_mm - index * scanner.step_mm
        x, y = (round(middle - corner, 3) for middle in scanner.table_mm)
        dataset.ImagePositionPatient = [x, y, round(z, 3)]
        tilt = math.radians(self.tilt_deg)
        down = [0, round(math.cos(tilt), 6), round(math.sin(tilt), 6)] if tilt else [0, 1, 0]
        dataset.ImageOrientationPatient = [1, 0, 0, *down]
        dataset.GantryDetectorTilt = self.tilt_deg
        dataset.SliceLocation = round(z, 3)
        dataset.PixelSpacing = [scanner.spacing_mm, scanner.spacing_mm]
        set_pixels(dataset, hu, scanner)
        return dataset

    def _patient(self) -> dict[str, object]:
        who = self.identity
        return {
            "PatientName": who.name,
            "PatientID": who.patient_id,
            "PatientBirthDate": f"{who.birth_date:%Y%m%d}",
            "PatientSex": who.sex,
            "PatientAge": f"{who.age:03d}Y",
        }

    def _study(self) -> dict[str, object]:
        who, day = self.identity, f"{self.identity.ct_date:%Y%m%d}"
        hour = f"{8 + self.number % 10:02d}{self.number % 60:02d}"
        return {
            "StudyInstanceUID": self.uid("study"),
            "StudyDate": day,
            "SeriesDate": day,
            "AcquisitionDate": None if self.number % 7 == 3 else day,
            "ContentDate": day,
            "StudyTime": f"{hour}10",
            "SeriesTime": f"{hour}32",
            "ContentTime": f"{hour}45",
            "StudyID": f"{self.number}",
            "AccessionNumber": who.accession,
            "ReferringPhysicianName": who.physician,
            "PerformingPhysicianName": who.reader,
            "InstitutionName": who.hospital,
            "StudyDescription": f"CT LUMBAR SPINE {who.surname}",
            "RequestAttributesSequence": [
                item(
                    RequestedProcedureID=who.accession,
                    RequestedProcedureDescription=f"L-SPINE {who.surname}",
                    ScheduledProcedureStepID=f"{self.number}",
                )
            ],
        }

    def _series(self, series: int, description: str) -> dict[str, object]:
        vendor = self.scanner.vendor
        return {
            "SpecificCharacterSet": "ISO_IR 100",
            "SOPClassUID": CTImageStorage,
            "Modality": "CT",
            "ImageType": list(vendor.image_type),
            "SeriesInstanceUID": self.uid("series", series),
            "SeriesNumber": series,
            "SeriesDescription": f"{description} {self.identity.patient_id}",
            "ImageComments": f"reviewed with {self.identity.reader.partition('^')[0]}",
            "FrameOfReferenceUID": self.uid("frame"),
            "PositionReferenceIndicator": "",
            "PatientPosition": "HFS",
            "BodyPartExamined": "LSPINE",
            "Manufacturer": vendor.manufacturer,
            "ManufacturerModelName": vendor.model,
            "StationName": self.identity.station,
            "SoftwareVersions": "phantom",
        }

    def _acquisition(self, kernel: str) -> dict[str, object]:
        agent = self.agent or _NO_AGENT[self.number % len(_NO_AGENT)]
        return {
            "AcquisitionNumber": 1,
            "KVP": self.scanner.tube_kvp,
            "XRayTubeCurrent": 180 + self.number % 90,
            "ExposureTime": 750,
            "SliceThickness": self.scanner.thickness_mm,
            "ReconstructionDiameter": round(self.scanner.field_mm, 2),
            "ConvolutionKernel": kernel,
            **({} if agent is None else {"ContrastBolusAgent": agent}),
        }


def set_pixels(dataset: Dataset, hu: Plane, scanner: Scanner) -> None:
    """Add `hu` to a header in the form in which the scanner's vendor stores it."""
    vendor = scanner.vendor
    stored = digitise(hu).astype("<i4") - vendor.intercept
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = 16 if vendor.signed else 12
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(vendor.signed)
    dataset.WindowCenter, dataset.WindowWidth = 300, 1500
    dataset.RescaleIntercept = vendor.intercept
    dataset.RescaleSlope = 1
    dataset.RescaleType = "HU"
    dataset.PixelData = stored.astype("<i2" if vendor.signed else "<u2").tobytes()


def save(dataset: Dataset, path: Path, syntax: str) -> None:
    """Write a DICOM file (PS3.10) in the transfer syntax `syntax`, a key of `SYNTAXES`."""
    uid = SYNTAXES[syntax]
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if uid.is_encapsulated else uid
    meta.ImplementationClassUID = generate_uid(entropy_srcs=["dsnet phantom"])
    meta.ImplementationVersionName = "DSNET_PHANTOM"
    dataset.file_meta = meta
    if uid.is_encapsulated:
        dataset.compress(uid, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
