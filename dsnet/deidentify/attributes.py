r"""The attributes that a de-identified CT slice keeps, and the form that their values must have.

Everything else is removed: DICOM has more than 5,000 attributes, and most can hold text. What
happens to a value of another form follows from the attribute's type in the CT Image IOD (PS3.3
A.3): optional attributes (type 3) are removed, required ones that may be empty (type 2) are
emptied, and required ones (type 1) are replaced. Where the image would mean something else, the
slice is refused.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal, NamedTuple

from pydicom.uid import CTImageStorage

from dsnet.dicom import vocabulary

Values = list[Any]


class Patient(NamedTuple):
    """What replaces a patient's values.

    Attributes
    ----------
    key : str
        Pseudonym, which becomes PatientID and PatientName.
    shift_days : int
        Added to all dates.
    uid : callable
        Returns the UID that replaces another.
    kernel : callable
        Returns the name that replaces an unknown reconstruction kernel.
    """

    key: str
    shift_days: int
    uid: Callable[[str], str]
    kernel: Callable[[str], str]


@dataclass(frozen=True)
class Form:
    """The form of a value.

    Attributes
    ----------
    description : str
        For people.
    apply : callable
        Takes the values of an element and returns those to write, none where they have another
        form.
    """

    description: str
    apply: Callable[[Values, Patient], Values]


class Attribute(NamedTuple):
    """An attribute that is kept.

    Attributes
    ----------
    keyword : str
    type : {"1", "2", "3", "!"}
        Of the CT Image IOD; "!" for type 1 whose form decides what the image means.
    form : Form
    """

    keyword: str
    type: Literal["1", "2", "3", "!"]
    form: Form


_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_LONGEST_NUMBER = 32
_TIME = re.compile(r"([01]\d|2[0-3]):?(?:([0-5]\d):?(?:([0-5]\d|60)(?:\.\d{1,6})?)?)?")
_DAY = re.compile(r"([0-9]{4})\.?([0-9]{2})\.?([0-9]{2})")
"""With the full stops of ACR-NEMA, which PS3.5 6.2 asks readers to accept."""

_AGE = re.compile(r"(\d{3})([DWMY])")
_OLDEST_YEARS = 89

_LISTED = """
abdomen abdominal additional adult axial axiale body bone bones cervical chest contrast cor
coronal cortical cspine ct cta dual energy head helical iv kernel knochen l l1 l2 l3 l4 l5
lendenwirbelsaeule lspine lumbar lumbosacral lws medium mpr native neck non noncontrast o
osteo pelvis plain post pre recon reconstruction routine s1 sacrum sag sagittal scan scout
series sharp soft spine spiral standard t10 t11 t12 thin thoracic thorax tissue topogram
trauma tspine unenhanced vertebra vertebral volume w with without wo
"""
_DESCRIPTION_WORDS = frozenset(_LISTED.split())
_WORD = re.compile(r"[^\W\d_][^\W_]*|(?<![\w.])\d{1,2}\.\d(?![\w.])|(?<![\w.])\d{1,2}(?= ?mm\b)")
"""A word, or a thickness; days and months are written differently."""

_KERNELS = re.compile(
    r"(?:HD ?)?(?:STANDARD|STD|SOFT|DETAIL|CHEST|CHST|LUNG|BONE|EDGE|ULTRA)(?: ?(?:PLUS|\+))?"
    r"|[ABDEHIJQTU][A-Z]?\d{2}[A-Z]?|[A-E]|L|X?C[ABC]|[UY][A-D]|F[CL]\d{2}(?:-H)?"
)
r"""Names of GE, Siemens (``Br64d``), Philips and Canon."""

_VENDORS = {
    "ge": "GE MEDICAL SYSTEMS",
    "siemens": "SIEMENS",
    "philips": "Philips",
    "canon": "CANON",
}

_BODY_PARTS = """
ABDOMEN ABDOMENPELVIS CHEST CHESTABDOMEN CHESTABDPELVIS CSPINE HEAD LSPINE LSSPINE NECK PELVIS
SPINE SSPINE TLSPINE TSPINE WHOLEBODY
"""
_POSITIONS = tuple(f"{end}{side}" for end in ("HF", "FF") for side in ("S", "P", "DR", "DL"))
_DIRECTIONS = re.compile(r"[APRLHF]{1,3}")


def words(*terms: str) -> Form:
    """Return the form of a single term of a list."""

    def apply(values: Values, _: Patient) -> Values:
        text = _single(values)
        return [text] if text in terms else []

    return Form("one of " + ", ".join(terms), apply)


def numbers(low: float, high: float, *, count: int = 1, most: int = 0, whole: bool = False) -> Form:
    """Return the form of `count` numbers, or of one to `most`, from `low` to `high`."""

    def apply(values: Values, _: Patient) -> Values:
        checked = [_number(value) for value in values]
        right = 1 <= len(values) <= most if most else len(values) == count
        inside = all(low <= number <= high for number in checked)
        if right and inside and not (whole and any(number % 1 for number in checked)):
            return values
        return []

    several = f"1 to {most} " if most else f"{count} " if count > 1 else ""
    kind = "whole number" if whole else "number"
    plural = "s" if several else ""
    return Form(f"{several}{kind}{plural} from {low:g} to {high:g}", apply)


def _number(value: Any) -> float:
    """Return a number that is written as one, NaN for all else: Python reads more than DICOM."""
    text = str(getattr(value, "original_string", value)).strip(" \0")
    if len(text) > _LONGEST_NUMBER or not (text.isascii() and _NUMBER.fullmatch(text)):
        return math.nan
    return float(text)


def _single(values: Values) -> str:
    """Return the text of a single value, "" for several or none."""
    return str(values[0]).strip() if len(values) == 1 else ""


def _integers_of_two_bytes(values: Values, _: Patient) -> Values:
    """Keep stored values; where the VR depends on another attribute, they are still bytes."""
    fits = [isinstance(one, int) or (isinstance(one, bytes) and len(one) == 2) for one in values]
    return values if fits == [True] else []


def _uid(values: Values, patient: Patient) -> Values:
    text = _single(values)
    return [patient.uid(text)] if text else []


def _date(values: Values, patient: Patient) -> Values:
    moved = shifted(_single(values), patient.shift_days)
    return [moved] if moved else []


def _date_time(values: Values, patient: Patient) -> Values:
    text = _single(values)
    moved, time = shifted(text[:8], patient.shift_days), _whole_seconds(text[8:14])
    return [moved + time] if moved and time else []


def _time(values: Values, _: Patient) -> Values:
    time = _whole_seconds(_single(values))
    return [time] if time else []


def _whole_seconds(text: str) -> str:
    time = _TIME.fullmatch(text)
    return "".join(part or "00" for part in time.groups()) if time else ""


def _age(values: Values, _: Patient) -> Values:
    age = _AGE.fullmatch(_single(values))
    if not age:
        return []
    return ["090Y" if age[2] == "Y" and int(age[1]) > _OLDEST_YEARS else age[0]]


def _description(values: Values, _: Patient) -> Values:
    text = clean(" ".join(map(str, values)))
    return [text] if text else []


def _vendor(values: Values, _: Patient) -> Values:
    name = _VENDORS.get(vocabulary.vendor(" ".join(map(str, values))))
    return [name] if name else []


def _kernel(values: Values, patient: Patient) -> Values:
    r"""Keep a vendor's name and a strength of one digit (``Br64d\3``); replace others."""
    name, *strength = [str(value).strip() for value in values]
    if _KERNELS.fullmatch(name.upper()) and all(re.fullmatch(r"[0-9]", one) for one in strength):
        return [name, *strength[:1]]
    return [patient.kernel("\\".join(map(str, values)))] if name else []


def _contrast(values: Values, _: Patient) -> Values:
    text = " ".join(map(str, values)).strip()
    return ["CONTRAST" if vocabulary.names_contrast(text) else "NONE"] if text else []


def _image_type(values: Values, _: Patient) -> Values:
    pixels, examination, kind = [str(value).strip().upper() for value in (*values, "", "", "")][:3]
    return [
        pixels if pixels in ("ORIGINAL", "DERIVED") else "DERIVED",
        examination if examination in ("PRIMARY", "SECONDARY") else "SECONDARY",
        *([kind] if kind in ("AXIAL", "LOCALIZER") else []),
    ]


def _orientation(values: Values, _: Patient) -> Values:
    texts = [str(value).strip() for value in values]
    return texts if len(texts) == 2 and all(map(_DIRECTIONS.fullmatch, texts)) else []


def clean(text: str) -> str:
    """Return the listed words of `text`, and thicknesses, in their order (PS3.15 E.3.5).

    Examples
    --------
    >>> clean("CT LUMBAR SPINE Braskacker 506445 2.5 mm")
    'CT LUMBAR SPINE 2.5'
    """
    kept = [
        word
        for word in _WORD.findall(text)
        if word[0].isdigit() or word.lower() in _DESCRIPTION_WORDS
    ]
    return " ".join(kept)[:64].strip()


def shifted(text: str, days: int) -> str:
    """Return a DA value moved by `days`, "" where it is no valid date.

    Examples
    --------
    >>> shifted("20200229", 1), shifted("2020.02.29", 1), shifted("20200231", 1)
    ('20200301', '20200301', '')
    """
    parts = _DAY.fullmatch(text)
    try:
        day = date(*map(int, parts.groups())) + timedelta(days) if parts else None
    except (ValueError, OverflowError):
        return ""
    return f"{day.year:04}{day:%m%d}" if day else ""


_EMPTY = Form("always empty", lambda *_: [])
_PSEUDONYM = Form("replaced by the pseudonym", lambda _, patient: [patient.key])
_KEYED = Form("replaced by a keyed UID", _uid)
_DAYS = Form("a valid date; moved by the patient's number of days", _date)
_TIME_OF_DAY = Form("a time of day, without fractions of a second", _time)
_TEXT = Form("words of a fixed list and thicknesses; other words are removed", _description)
_MOMENT = Form("a valid date and time of day; moved likewise", _date_time)
_KERNEL_NAME = Form("a vendor's name; others replaced by a keyed code", _kernel)
_IMAGE_TYPE = Form(
    "ORIGINAL or DERIVED, PRIMARY or SECONDARY, AXIAL or LOCALIZER; further values are removed",
    _image_type,
)
STORED_VALUE = Form("a stored pixel value", _integers_of_two_bytes)
_MM = numbers(-5000, 5000)

ATTRIBUTES = (
    Attribute("ImageType", "1", _IMAGE_TYPE),
    Attribute("SOPClassUID", "1", Form("CT Image Storage", lambda *_: [CTImageStorage])),
    Attribute("SOPInstanceUID", "1", _KEYED),
    Attribute("StudyDate", "2", _DAYS),
    Attribute("SeriesDate", "3", _DAYS),
    Attribute("AcquisitionDate", "3", _DAYS),
    Attribute("ContentDate", "3", _DAYS),
    Attribute("AcquisitionDateTime", "3", _MOMENT),
    Attribute("StudyTime", "2", _TIME_OF_DAY),
    Attribute("SeriesTime", "3", _TIME_OF_DAY),
    Attribute("AcquisitionTime", "3", _TIME_OF_DAY),
    Attribute("ContentTime", "3", _TIME_OF_DAY),
    Attribute("AccessionNumber", "2", _EMPTY),
    Attribute("Modality", "1", Form("CT", lambda *_: ["CT"])),
    Attribute("Manufacturer", "2", Form("the usual name of a known vendor", _vendor)),
    Attribute("ReferringPhysicianName", "2", _EMPTY),
    Attribute("StudyDescription", "3", _TEXT),
    Attribute("SeriesDescription", "3", _TEXT),
    Attribute("PatientName", "2", _PSEUDONYM),
    Attribute("PatientID", "2", _PSEUDONYM),
    Attribute("PatientBirthDate", "2", _EMPTY),
    Attribute("PatientSex", "2", words("F", "M", "O")),
    Attribute("PatientAge", "3", Form("an age; over 89 years, 090Y", _age)),
    Attribute("PatientSize", "3", numbers(0.2, 2.6)),
    Attribute("PatientWeight", "3", numbers(0.2, 500)),
    Attribute("ContrastBolusAgent", "3", Form("CONTRAST or NONE, by what it says", _contrast)),
    Attribute("BodyPartExamined", "3", words(*_BODY_PARTS.split())),
    Attribute("SliceThickness", "2", numbers(0, 100)),
    Attribute("KVP", "2", numbers(10, 400)),
    Attribute("SpacingBetweenSlices", "3", numbers(-100, 100)),
    Attribute("DataCollectionDiameter", "3", numbers(0, 2000)),
    Attribute("ProtocolName", "3", _TEXT),
    Attribute("ReconstructionDiameter", "3", numbers(0, 2000)),
    Attribute("GantryDetectorTilt", "3", numbers(-90, 90)),
    Attribute("TableHeight", "3", _MM),
    Attribute("RotationDirection", "3", words("CW", "CC")),
    Attribute("ExposureTime", "3", numbers(0, 99999)),
    Attribute("XRayTubeCurrent", "3", numbers(0, 5000)),
    Attribute("Exposure", "3", numbers(0, 99999)),
    Attribute("ConvolutionKernel", "3", _KERNEL_NAME),
    Attribute("PatientPosition", "3", words(*_POSITIONS)),
    Attribute("RevolutionTime", "3", numbers(0, 100)),
    Attribute("SingleCollimationWidth", "3", numbers(0, 1000)),
    Attribute("TotalCollimationWidth", "3", numbers(0, 1000)),
    Attribute("TableSpeed", "3", numbers(0, 1000)),
    Attribute("TableFeedPerRotation", "3", numbers(0, 1000)),
    Attribute("SpiralPitchFactor", "3", numbers(0, 20)),
    Attribute("CTDIvol", "3", numbers(0, 1000)),
    Attribute("StudyInstanceUID", "1", _KEYED),
    Attribute("SeriesInstanceUID", "1", _KEYED),
    Attribute("StudyID", "2", _EMPTY),
    Attribute("SeriesNumber", "2", numbers(0, 9999, whole=True)),
    Attribute("AcquisitionNumber", "2", numbers(0, 9999, whole=True)),
    Attribute("InstanceNumber", "2", numbers(0, 9999, whole=True)),
    Attribute("PatientOrientation", "3", Form("two directions, such as L and P", _orientation)),
    Attribute("ImagePositionPatient", "!", numbers(-5000, 5000, count=3)),
    Attribute("ImageOrientationPatient", "!", numbers(-1.01, 1.01, count=6)),
    Attribute("FrameOfReferenceUID", "1", _KEYED),
    Attribute("PositionReferenceIndicator", "2", _EMPTY),
    Attribute("SliceLocation", "3", _MM),
    Attribute("SamplesPerPixel", "!", numbers(1, 1, whole=True)),
    Attribute("PhotometricInterpretation", "!", words("MONOCHROME1", "MONOCHROME2")),
    Attribute("Rows", "!", numbers(1, 65535, whole=True)),
    Attribute("Columns", "!", numbers(1, 65535, whole=True)),
    Attribute("PixelSpacing", "!", numbers(0.001, 100, count=2)),
    Attribute("BitsAllocated", "!", numbers(8, 32, whole=True)),
    Attribute("BitsStored", "!", numbers(1, 32, whole=True)),
    Attribute("HighBit", "!", numbers(0, 31, whole=True)),
    Attribute("PixelRepresentation", "!", numbers(0, 1, whole=True)),
    Attribute("PixelPaddingValue", "3", STORED_VALUE),
    Attribute("PixelPaddingRangeLimit", "3", STORED_VALUE),
    Attribute("BurnedInAnnotation", "3", words("NO")),
    Attribute("WindowCenter", "3", numbers(-32768, 65535, most=8)),
    Attribute("WindowWidth", "3", numbers(0, 65536, most=8)),
    Attribute("RescaleIntercept", "!", numbers(-99999, 99999)),
    Attribute("RescaleSlope", "!", numbers(-99999, 99999)),
    Attribute("RescaleType", "1", words("HU", "US")),
    Attribute("VOILUTFunction", "3", words("LINEAR", "LINEAR_EXACT", "SIGMOID")),
    Attribute("LossyImageCompression", "3", words("00", "01")),
    Attribute("LossyImageCompressionRatio", "3", numbers(0, 1000, most=4)),
    Attribute(
        "LossyImageCompressionMethod",
        "3",
        words("ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15"),
    ),
)
"""In the order of their tags. PixelData stays, too: see `dsnet.deidentify.pixel_data`."""


def table() -> str:
    """Return the attributes as a table in Markdown, for the documentation."""
    what = {
        "1": "replaced",
        "2": "emptied",
        "3": "removed",
        "!": "the slice is refused",
    }
    rows = [
        f"| {attribute.keyword} | {attribute.form.description} | {what[attribute.type]} |"
        for attribute in ATTRIBUTES
    ]
    head = ["| attribute | kept is | a value of another form |", "|---|---|---|"]
    return "\n".join((*head, *rows)) + "\n"
