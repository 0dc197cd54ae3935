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

_LONGEST_KERNEL = 64
"""SH allows 16 characters; some vendors write more."""

_KERNEL_CODE = re.compile(
    r"[A-Z]{0,2}\d{1,2}[A-Z]{0,2}|[A-Z]|FC\d\d[A-Z]?|\d|X?C[ABC]|[UEY][A-D]|XRES|STD"
    r"|STANDARD|SOFT|SMOOTH|MEDIUM|DETAIL|SHARP|SHARPER|SHARPPLUS|EDGE|ULTRA|BONE|BONEPLUS|PLUS"
    r"|LUNG|CHEST|BODY|ABDOMEN|SPINE|PELVIS|BRAIN|HEAD|NECK|CARDIAC|HEART|VASCULAR|LIVER|TISSUE"
    r"|STRUCTURE|ROUTINE|NORMAL|FINE|VERY|EXTRA|HIGH|LOW|RES|RESOLUTION|INNER|EAR|HD|IMR|ASIR|AICE"
    r"|AIDR|FIRST|FILTER|KERNEL|VSOFT|VSHARP|RECON|RECONSTRUCTION"
)
"""A word of a vendor's kernel name: letters with one or two digits (Br59, FC30, U30u, QR64, 31), a
letter, the combinations of Philips, or a word that several vendors use. A name that holds anything
else may be a person's."""

_RESCALE_TYPES = frozenset({"OD", "HU", "US", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT"})
"""Defined terms of RescaleType (0028,1054), PS3.3 C.11.1.1.2."""
_MODALITY = re.compile(r"[A-Z]{2,16}")

_AGENT = r"(?:[CK]ONTRAST[A-Z]*|KM|MDC|ENHANCE[A-Z]*|INJE[CK]T[A-Z]*)"

_UNENHANCED = re.compile(
    r"(?<![A-Z0-9])(?:NON?|NOT|WITHOUT|W O|WO|OHNE|SANS|SENZA|SIN|SEM|PRE|BEFORE|VOR)"
    rf" ?(?:I ?V )?{_AGENT}(?![A-Z0-9])|KONTRASTSIZ|KONTRASTFREI"
    "|\u975e\u589e\u5f3a|\u975e\u9020\u5f71|\ube44\uc870\uc601"
)
"""Words that deny contrast, removed before `_ENHANCED` is searched. The last ones are Chinese,
Japanese and Korean."""

_ENHANCED = re.compile(
    rf"(?<![A-Z0-9])(?:{_AGENT}|CE|CECT|CT[AV]|ANGIO[A-Z]*|ARTERI[A-Z]*|VENOUS|VEN(?:OE|\u00d6)S[A-Z]*"
    r"|VENOSA|PORTAL|PORTOVEN[A-Z]*|NEPHRO[A-Z]*|BOLUS|MYELO[A-Z]*|IO(?:HEX|PAM|PROM|DIX|VERS)[A-Z]*"
    r"|OMNIPAQUE|ULTRAVIST|ISOVUE|VISIPAQUE|IMERON|XENETIX|OPTIRAY|\+ ?C|C ?\+)(?![A-Z0-9])"
    "|\u589e\u5f3a|\u52a8\u8109\u671f|\u9759\u8109\u671f|\u95e8\u8109|\u5ef6\u8fdf\u671f"
    "|\u9020\u5f71|\uc870\uc601"
)
"""Words of series and protocols of enhanced scans: agents, phases of the circulation, angiography
and myelography, and short forms (CE, C+, KM, MDC); at the end Chinese, Japanese and Korean."""

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


def describes_contrast(text: str) -> bool:
    """Return whether the description of a series or protocol names a contrast agent.

    "W/O" before the word, "unenhanced", "native" and the like mean none; a description of both
    phases ("W/O & W CONTRAST") names one.

    Examples
    --------
    >>> described = ("Abdomen venous 3.0", "L-SPINE W/O CONTRAST", "ABD W/O & W CONTRAST", "C+")
    >>> [describes_contrast(text) for text in described]
    [True, False, True, True]
    """
    words = re.sub(r"[^\w+]+|_", " ", text.upper()).strip()
    return bool(_ENHANCED.search(_UNENHANCED.sub(" ", words)))


def kernel(values: Sequence[str]) -> str:
    r"""Return the values of ConvolutionKernel (0018,1210) joined by ``\``, cut to 64 characters."""
    return "\\".join(value.strip() for value in values).strip()[:_LONGEST_KERNEL].strip()


def is_kernel_name(text: str) -> bool:
    r"""Return whether the text of `kernel` is made of vendors' words and codes alone.

    Anything else, a person's name for example, must not be published as it is.

    Examples
    --------
    >>> [is_kernel_name(text) for text in (r"Br64f\3", "BONEPLUS", "STD+", "Thornabee", "000123")]
    [True, True, True, False, False]
    """
    words = re.split(r"[ +\-_./\\]+", text.upper())
    return all(not word or _KERNEL_CODE.fullmatch(word) for word in words)


def rescale_type(text: str) -> str:
    """Return RescaleType (0028,1054), "?" where it is no term of the standard, "" for a blank."""
    term = text.strip().upper()
    return term if not term or term in _RESCALE_TYPES else "?"


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
