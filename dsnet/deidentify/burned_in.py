"""Images that are refused because their pixels may show the patient's identity."""

from enum import StrEnum

from pydicom.dataset import Dataset

from dsnet.dicom.header import sop_class_uid
from dsnet.dicom.vocabulary import image_kind, standard_name

_SCREEN_WORDS = ("SCREEN", "CAPTURE", "SAVE", "DOSE", "REPORT", "PROTOCOL", "SSAVE")


class Reason(StrEnum):
    """Why an image is not written."""

    BURNED_IN = "BurnedInAnnotation (0028,0301) is YES"
    CAPTURE = "a secondary capture, or pixels that come from a film or a screen (0008,0064)"
    SCREEN = "ImageType (0008,0008) names a screen save, a dose sheet or a secondary image"
    COLOUR = "in colour, as screens are and CT is not"
    OVERLAY = "an overlay lies within the pixel data (60xx,0102)"
    CHANGED = "the pixels are not those that were ingested: run the workflow again"
    UNREADABLE = "the file is gone, has changed or cannot be written without identity"


def refusal(dataset: Dataset) -> Reason | None:
    """Return why the pixels of `dataset` are suspect, or None.

    The header alone decides; the pixels are not searched for text.
    """
    types = dataset.get("ImageType") or []
    values = [str(value).upper() for value in ([types] if isinstance(types, str) else types)]
    sop_class = standard_name(sop_class_uid(dataset), "SOP Class")
    if str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        return Reason.BURNED_IN
    if "Secondary Capture" in sop_class or dataset.get("ConversionType"):
        return Reason.CAPTURE
    screen = any(word in value for value in values for word in _SCREEN_WORDS)
    if screen or image_kind(values, sop_class) == "secondary":
        return Reason.SCREEN
    if dataset.get("SamplesPerPixel", 1) != 1:
        return Reason.COLOUR
    positions = (dataset.get((group, 0x0102)) for group in range(0x6000, 0x6020, 2))
    if any(element is not None and element.value for element in positions):
        return Reason.OVERLAY
    return None
