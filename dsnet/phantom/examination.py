"""One CT examination as DICOM: headers that are true to the CT Image IOD (PS3.3 A.3), and files."""

import math
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from dsnet.phantom.canvas import Plane
from dsnet.phantom.fault import Case
from dsnet.phantom.identity import Identity
from dsnet.phantom.optics import digitise
from dsnet.phantom.planted import plant, plant_overlay
from dsnet.phantom.scanner import SYNTAXES, Scanner

_NO_AGENT = (None, "", "None", "NO", "N/A")
"""What hospitals write where there was no contrast agent; None leaves the attribute out."""


@dataclass(frozen=True)
class Examination:
    """What all files of one patient share.

    Attributes
    ----------
    seed, number : int
        Of the cohort and of the patient; all UIDs follow from them.
    identity : Identity
    scanner : Scanner
    case : Case
    """

    seed: int
    number: int
    identity: Identity
    scanner: Scanner
    case: Case

    def uid(self, *parts: object) -> str:
        """Return the UID of the thing that `parts` name, the same in every run."""
        return str(generate_uid(entropy_srcs=[f"dsnet phantom {self.seed} {self.number} {parts}"]))

    def image_uid(self, series: int, index: int) -> str:
        """Return the SOP Instance UID of slice `index` of a series."""
        return self.uid("image", series, index)

    def header(self, series: int, kernel: str, description: str) -> Dataset:
        """Return the attributes that all slices of a series share."""
        dataset = Dataset()
        for attributes in (
            self._patient(),
            self._study(),
            self._series(series, description),
            self._acquisition(kernel),
        ):
            for keyword, value in attributes.items():
                setattr(dataset, keyword, value)
        dataset.RequestAttributesSequence = Sequence([self._request()])
        plant(dataset, self.identity)
        if self.number % 4 == 1:
            plant_overlay(dataset, self.identity, self.scanner.matrix_px)
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
        tilt = math.radians(self.case.tilt_deg)
        down = [0, round(math.cos(tilt), 6), round(math.sin(tilt), 6)] if tilt else [0, 1, 0]
        dataset.ImageOrientationPatient = [1, 0, 0, *down]
        dataset.GantryDetectorTilt = self.case.tilt_deg
        dataset.SliceLocation = round(z, 3)
        dataset.PixelSpacing = [scanner.spacing_mm, scanner.spacing_mm]
        put_pixels(dataset, hu, scanner)
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
        agent = self.case.agent or _NO_AGENT[self.number % len(_NO_AGENT)]
        return {
            "AcquisitionNumber": 1,
            "KVP": 120,
            "XRayTubeCurrent": 180 + self.number % 90,
            "ExposureTime": 750,
            "SliceThickness": self.scanner.thickness_mm,
            "ReconstructionDiameter": round(self.scanner.field_mm, 2),
            "ConvolutionKernel": kernel,
            **({} if agent is None else {"ContrastBolusAgent": agent}),
        }

    def _request(self) -> Dataset:
        item = Dataset()
        item.RequestedProcedureID = self.identity.accession
        item.RequestedProcedureDescription = f"L-SPINE {self.identity.surname}"
        item.ScheduledProcedureStepID = f"{self.number}"
        return item


def put_pixels(dataset: Dataset, hu: Plane, scanner: Scanner) -> None:
    """Store `hu` as the scanner's vendor does."""
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
