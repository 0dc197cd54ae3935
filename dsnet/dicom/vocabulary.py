r"""Header texts reduced to a few known words, since free text may hold anything, a name too.

The attributes are those of DICOM PS3.3, C.7.6.1 (General Image), C.7.6.4 (Contrast/Bolus) and
C.8.2.1 (CT Image).
"""

import re
from collections.abc import Sequence

from pydicom.config import IGNORE
from pydicom.uid import UID

_SECONDARY_CAPTURE = "Secondary Capture Image Storage"
_LOCALIZER_WORDS = frozenset({"LOCALIZER", "LOCALISER", "SCOUT", "TOPOGRAM", "SCANOGRAM"})

_VENDORS = (
    ("ge", re.compile(r"^GE\b|GENERAL ELECTRIC")),
    ("siemens", re.compile(r"SIEMENS")),
    ("philips", re.compile(r"PHILIPS")),
    ("canon", re.compile(r"CANON|TOSHIBA")),
)

_KERNEL = re.compile(r"[A-Za-z0-9 +\-_./\\]*")
_KERNEL_LENGTH = 16
_MODALITY = re.compile(r"[A-Z]{2,16}")

_NO_CONTRAST = re.compile(
    r"(?:0(?: 0*)?(?: ML)?|NONE?|NO|N|N A|NA|NIL|NULL|NOT(?: APPLICABLE)?|WITHOUT|W O|WO|FALSE"
    r"|NATIVE|PLAIN|UNENHANCED)"
    r"(?: I ?V)?(?: ?CONTRAST)?(?: AGENT| MEDIA| MEDIUM| BOLUS)?(?: GIVEN| USED| ADMINISTERED)?"
)


def names_contrast(text: str) -> bool:
    """Return whether a text of (0018,0010), (0018,1040) or the like means that an agent was given.

    Real headers say "None" (GE), "NO", "N/A", "-", "0", "0.0 ml", "W/O", "without contrast",
    "Non-contrast", "no IV contrast given" or nothing where there was none: upper and lower case
    and what is neither letter nor digit make no difference. Anything else names an agent,
    "CONTRAST" and "APPLIED" (Siemens) too.

    Examples
    --------
    >>> [names_contrast(text) for text in ("None", "W/O", "-", "IOHEXOL 350", "IV contrast")]
    [False, False, False, True, True]
    """
    words = re.sub(r"[\W_]+", " ", text.upper()).strip()
    return bool(words) and not _NO_CONTRAST.fullmatch(words)


def image_kind(image_type: Sequence[str], sop_class: str) -> str:
    r"""Return what an image is by its ImageType (0008,0008) and the name of its SOP class.

    Parameters
    ----------
    image_type : sequence of str
        Value 1 distinguishes ORIGINAL from DERIVED pixels, value 2 a PRIMARY from a SECONDARY
        image; the others are the vendor's.
    sop_class : str
        Dictionary name of SOPClassUID (0008,0016).

    Returns
    -------
    {"localizer", "secondary", "derived", "original", "unknown"}
        The first that holds: ``localizer`` if any value is such a word; ``secondary`` for a
        secondary capture regardless of its ImageType; ``derived`` by value 1, hence reformats
        (``DERIVED\SECONDARY\MPR``) and dual-energy mixtures (``DERIVED\PRIMARY\AXIAL``) alike;
        ``secondary`` by value 2, even after ORIGINAL: scanners write ``ORIGINAL\PRIMARY`` on what
        they reconstruct from raw data, and ``ORIGINAL\SECONDARY`` comes from software that made
        a copy after the exam; ``original``; ``unknown`` for a blank or meaningless value 1.
    """
    values = [value.strip().upper() for value in image_type]
    pixels, examination = (*values, "", "")[:2]
    if _LOCALIZER_WORDS.intersection(values):
        return "localizer"
    if sop_class.endswith(_SECONDARY_CAPTURE):
        return "secondary"
    if pixels == "DERIVED":
        return "derived"
    if pixels != "ORIGINAL":
        return "unknown"
    return "secondary" if examination == "SECONDARY" else "original"


def vendor(manufacturer: str) -> str:
    """Return ge, siemens, philips, canon (with Toshiba), other, or unknown for a blank."""
    text = manufacturer.strip().upper()
    if not text:
        return "unknown"
    return next((name for name, pattern in _VENDORS if pattern.search(text)), "other")


def kernel(values: Sequence[str]) -> str:
    r"""Return the values of ConvolutionKernel (0018,1210) joined by ``\``, at most 16 characters.

    "" for a blank; "?" where a character other than a letter, a digit, a space or ``+-_./\`` shows
    that it is no vendor's code.
    """
    text = "\\".join(value.strip() for value in values).strip()
    return text[:_KERNEL_LENGTH].strip() if _KERNEL.fullmatch(text) else "?"


def modality(text: str) -> str:
    """Return Modality (0008,0060), "?" where it is not 2 to 16 capitals, "" for a blank."""
    text = text.strip()
    return text if not text or _MODALITY.fullmatch(text) else "?"


def standard_name(text: str, kind: str) -> str:
    """Return the dictionary name of a UID, since a private UID may identify its hospital.

    Parameters
    ----------
    text : str
        The UID.
    kind : {"SOP Class", "Transfer Syntax"}
        What it should be by DICOM PS3.6, Annex A.

    Returns
    -------
    str
        "" for a blank, ``private`` where the dictionary has no such UID.
    """
    if not text:
        return ""
    uid = UID(text, validation_mode=IGNORE)
    return uid.name if uid.is_valid and uid.type.startswith(kind) else "private"
