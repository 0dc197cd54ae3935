"""From a DICOM header to the few facts that the pipeline needs."""

import math
import struct
from datetime import date
from typing import Any, NamedTuple

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from dsnet.dicom import vocabulary
from dsnet.dicom.elements import Elements, remembered
from dsnet.dicom.geometry import plane

KEYWORDS = (
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "Modality",
    "Manufacturer",
    "SeriesDescription",
    "PatientID",
    "ContrastBolusAgent",
    "ContrastBolusAgentSequence",
    "ContrastBolusRoute",
    "ContrastBolusVolume",
    "ContrastBolusTotalDose",
    "SliceThickness",
    "KVP",
    "ReconstructionDiameter",
    "ProtocolName",
    "GantryDetectorTilt",
    "ConvolutionKernel",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "BitsStored",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "ExposureTime",
    "XRayTubeCurrent",
    "Exposure",
)
"""The elements that `read` looks at."""

_EXPOSURE = ("Exposure", "XRayTubeCurrent", "ExposureTime")
_OF_SLICE = ("SOPInstanceUID", "ImagePositionPatient", *_EXPOSURE)
_SHARED = (
    "TransferSyntaxUID",
    "MediaStorageSOPClassUID",
    *(keyword for keyword in KEYWORDS if keyword not in _OF_SLICE),
)
"""Those that the slices of a series share, and those of the file meta information."""

CONVERSION_ERRORS = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom raises for a value that does not fit its VR, for an unknown VR or character set, and
for a sequence that is damaged. Values are in memory, so that an OSError is pydicom's own."""

_PADDING = " \0"
_MANY = (list, MultiValue)

_SLOPES = (1e-6, 1e6)
_LARGEST = 1e9
"""Beyond these a rescale is no scale, and any other number no size, but a damaged value."""


class Header(NamedTuple):
    """The facts of one header.

    The first five are identifying and stay in the private folder, as do `plane` and the text of
    `kernel` where it is no vendor's code; "" where blank, with nothing but padding stripped:
    leading zeros matter. `slope` and `intercept` map stored values to RescaleType, NaN where
    absent. The others are columns of the index.
    """

    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    ct_date: str
    transfer_syntax: str
    sop_class: str
    modality: str
    image_kind: str
    vendor: str
    kernel: str
    contrast: str
    frames: int | None
    rows: int | None
    columns: int | None
    row_spacing_mm: float
    column_spacing_mm: float
    slice_thickness_mm: float
    tube_voltage_kv: float
    exposure_mas: float
    reconstruction_diameter_mm: float
    orientation: str
    rotation_deg: float
    tilt_deg: float
    position_mm: float
    normal: str
    plane: str
    geometry_fault: str
    slope: float
    intercept: float
    bits_stored: int | None
    rescale_type: str
    hu_scale: bool


def read(dataset: Dataset | Elements) -> Header:
    """Return the facts of one header; a value that cannot be read counts as blank.

    Parameters
    ----------
    dataset : pydicom.Dataset or Elements
        With its file meta information and the elements of `KEYWORDS`.
    """
    shared, orientation, spacing_mm, gantry_tilt_deg = _shared(dataset)
    position_mm = _numbers(dataset, "ImagePositionPatient", 3)
    geometry = plane(orientation, position_mm, spacing_mm, gantry_tilt_deg)
    return shared._replace(
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        exposure_mas=_exposure_mas(dataset),
        orientation=geometry.orientation,
        rotation_deg=geometry.rotation_deg,
        tilt_deg=geometry.tilt_deg,
        position_mm=geometry.position_mm,
        normal=geometry.normal,
        plane=" ".join(map(repr, position_mm + orientation)) if orientation and position_mm else "",
        geometry_fault=geometry.fault,
    )


class _Shared(NamedTuple):
    """What the slices of a series share: the facts, those of one slice left blank, and geometry."""

    header: Header
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    gantry_tilt_deg: float


def _read(dataset: Dataset | Elements) -> _Shared:
    sop_class = vocabulary.standard_name(sop_class_uid(dataset), "SOP Class")
    modality = vocabulary.modality(_text(dataset, "Modality"))
    spacing_mm = _numbers(dataset, "PixelSpacing", 2)
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    header = Header(
        patient_id=_text(dataset, "PatientID"),
        study_instance_uid=_text(dataset, "StudyInstanceUID"),
        series_instance_uid=_text(dataset, "SeriesInstanceUID"),
        sop_instance_uid="",
        ct_date=_ct_date(dataset),
        transfer_syntax=vocabulary.standard_name(transfer_syntax_uid(dataset), "Transfer Syntax"),
        sop_class=sop_class,
        modality=modality,
        image_kind=vocabulary.image_kind(_texts(dataset, "ImageType"), sop_class),
        vendor=vocabulary.vendor(_text(dataset, "Manufacturer")),
        kernel=vocabulary.kernel(_texts(dataset, "ConvolutionKernel")),
        contrast=_contrast(dataset),
        frames=_count(dataset, "NumberOfFrames"),
        rows=_count(dataset, "Rows"),
        columns=_count(dataset, "Columns"),
        row_spacing_mm=spacing_mm[0] if spacing_mm else math.nan,
        column_spacing_mm=spacing_mm[1] if spacing_mm else math.nan,
        slice_thickness_mm=_number(dataset, "SliceThickness"),
        tube_voltage_kv=_positive(dataset, "KVP"),
        exposure_mas=math.nan,
        reconstruction_diameter_mm=_positive(dataset, "ReconstructionDiameter"),
        orientation="",
        rotation_deg=math.nan,
        tilt_deg=math.nan,
        position_mm=math.nan,
        normal="",
        plane="",
        geometry_fault="",
        slope=slope,
        intercept=intercept,
        bits_stored=_count(dataset, "BitsStored"),
        rescale_type=vocabulary.rescale_type(_text(dataset, "RescaleType")),
        hu_scale=_is_hu(slope, intercept, _text(dataset, "RescaleType"), modality),
    )
    return _Shared(
        header,
        _numbers(dataset, "ImageOrientationPatient", 6),
        spacing_mm,
        _number(dataset, "GantryDetectorTilt"),
    )


_shared = remembered(*_SHARED)(_read)


def sop_class_uid(dataset: Dataset | Elements) -> str:
    """Return SOPClassUID (0008,0016), else that of the file meta information, else ""."""
    meta = getattr(dataset, "file_meta", None) or Dataset()
    return _text(dataset, "SOPClassUID") or _text(meta, "MediaStorageSOPClassUID")


def transfer_syntax_uid(dataset: Dataset | Elements) -> str:
    """Return TransferSyntaxUID (0002,0010), "" where there is none."""
    return _text(getattr(dataset, "file_meta", None) or Dataset(), "TransferSyntaxUID")


def _is_hu(slope: float, intercept: float, rescale_type: str, modality: str) -> bool:
    """Return whether stored * slope + intercept is in HU.

    RescaleType (0028,1054) may be absent from a CT image, and then means HU (PS3.3 C.11.1.1.2);
    elsewhere its absence means nothing.
    """
    if not (_SLOPES[0] <= slope <= _SLOPES[1] and abs(intercept) <= _LARGEST):
        return False
    return rescale_type.upper() == "HU" or (not rescale_type and modality == "CT")


def _exposure_mas(dataset: Dataset | Elements) -> float:
    """Return Exposure (0018,1152), or the product that the standard says it is, in mAs."""
    exposure = _positive(dataset, "Exposure")
    if math.isnan(exposure):
        current_ma, time_ms = (_positive(dataset, keyword) for keyword in _EXPOSURE[1:])
        exposure = current_ma * time_ms / 1000
    return exposure


def _contrast(dataset: Dataset | Elements) -> str:
    """Return ``present``, ``described`` or ``none``.

    ``present`` if any element of the Contrast/Bolus module means that an agent was given;
    ``described`` if only SeriesDescription (0008,103E) or ProtocolName (0018,1030) names one, which
    technologists copy from one series to the next.

    An item of ContrastBolusAgentSequence (0018,0012) counts by its CodeMeaning, and a nameless
    item with a code does. A route alone counts, but not together with an agent "None".
    """
    agent = _text(dataset, "ContrastBolusAgent")
    items = value(dataset, "ContrastBolusAgentSequence")
    coded = [
        _text(item, "CodeMeaning") or _text(item, "CodeValue")
        for item in (items if isinstance(items, Sequence) else ())
    ]
    amounts = ("ContrastBolusVolume", "ContrastBolusTotalDose")
    if (
        any(vocabulary.names_contrast(text) for text in (agent, *coded))
        or any(_number(dataset, keyword) > 0 for keyword in amounts)
        or (not agent and vocabulary.names_contrast(_text(dataset, "ContrastBolusRoute")))
    ):
        return "present"
    descriptions = (_text(dataset, keyword) for keyword in ("SeriesDescription", "ProtocolName"))
    return "described" if any(map(vocabulary.describes_contrast, descriptions)) else "none"


def _ct_date(dataset: Dataset | Elements) -> str:
    """Return the first valid one of acquisition, series and study date as YYYY-MM-DD, or ""."""
    for keyword in ("AcquisitionDate", "SeriesDate", "StudyDate"):
        # ACR-NEMA wrote full stops between year, month and day; PS3.5 6.2 still asks readers to
        # accept them.
        digits = _text(dataset, keyword).replace(".", "")
        if len(digits) == 8 and digits.isascii() and digits.isdigit():
            try:
                day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
            except ValueError:
                continue
            return day.isoformat()
    return ""


def value(dataset: Dataset | Elements, keyword: str) -> Any:
    """Return the value of an element, None where it is absent, blank or cannot be converted."""
    try:
        return dataset.get(keyword)
    except CONVERSION_ERRORS:
        return None


def _texts(dataset: Dataset | Elements, keyword: str) -> list[str]:
    """Return the values of an element as clean text without padding; [] for a blank."""
    content = value(dataset, keyword)
    if isinstance(content, Sequence):  # a damaged VR: no text
        return []
    many = content if isinstance(content, _MANY) else [content]
    texts = [
        "" if one is None else (one.decode("latin-1") if isinstance(one, bytes) else str(one))
        for one in many
    ]
    texts = [text.strip(_PADDING) for text in texts]
    # A byte that its character set does not know must not stop a table from being written.
    return (
        [text.encode("utf-8", "backslashreplace").decode() for text in texts] if any(texts) else []
    )


def _text(dataset: Dataset | Elements, keyword: str) -> str:
    return "\\".join(_texts(dataset, keyword))


def _numbers(dataset: Dataset | Elements, keyword: str, count: int) -> tuple[float, ...]:
    """Return exactly `count` numbers of a possible size, or none."""
    content = value(dataset, keyword)
    if content is None:
        return ()
    many = content if isinstance(content, _MANY) else [content]
    try:
        numbers = tuple(float(one) for one in many)
    except (TypeError, ValueError, OverflowError):
        return ()
    return numbers if len(numbers) == count and all(abs(x) <= _LARGEST for x in numbers) else ()


def _number(dataset: Dataset | Elements, keyword: str) -> float:
    return next(iter(_numbers(dataset, keyword, 1)), math.nan)


def _positive(dataset: Dataset | Elements, keyword: str) -> float:
    """Return a number above 0; some devices write 0 for unknown."""
    number = _number(dataset, keyword)
    return number if number > 0 else math.nan


def _count(dataset: Dataset | Elements, keyword: str) -> int | None:
    number = _number(dataset, keyword)
    return int(number) if number >= 0 else None


BLANK = read(Dataset())._replace(geometry_fault="")
"""What stands in the index for a file without a readable header."""
