"""One dataset without identity: DICOM PS3.15 Annex E, Basic Profile with three options.

The actions are those of dicom-anonymizer for table E.1-1; this module changes them where an option
or the library requires it:

- the library treats only the outermost dataset: here the items of sequences are treated, too;
- it draws random UIDs and writes 00010101 for dates: here UIDs follow from the key, and dates are
  shifted (113107, Retain Longitudinal Temporal Information With Modified Dates);
- sex, age, size and weight stay (113108, Retain Patient Characteristics);
- descriptions keep the words of a fixed list, and codes of a hospital's own scheme go (113105,
  Clean Descriptors);
- it writes a dummy where an element of a CT image may be absent (X/Z, X/D and X/Z/D of sequences),
  and keeps the rest of an overlay whose data it removes: here both are deleted.
"""

import hashlib
import hmac
import re
import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from dicomanonymizer import simpledicomanonymizer as library
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.tag import BaseTag
from pydicom.uid import UID

from dsnet.dicom.header import CONVERSION_ERRORS, sop_class_uid
from dsnet.dicom.ps315 import EDITION, Rule, attributes, rules

METHOD = (
    f"DICOM PS3.15 {EDITION} Basic Application Confidentiality Profile",
    "all dates of a patient moved by the same number of days",
    "sex, age up to 90 years, size and weight retained",
    "descriptors reduced to words of a fixed list",
)
"""DeidentificationMethod (0012,0063): LO, at most 64 characters a value."""

_OPTIONS = (
    codes.DCM.BasicApplicationConfidentialityProfile,
    codes.DCM.CleanDescriptorsOption,
    codes.DCM.RetainLongitudinalTemporalInformationModifiedDatesOption,
    codes.DCM.RetainPatientCharacteristicsOption,
)

_CHARACTERISTICS = ((0x0010, 0x0040), (0x0010, 0x1010), (0x0010, 0x1020), (0x0010, 0x1030))
"""PatientSex, PatientAge, PatientSize, PatientWeight."""

_SCHEMES = frozenset((*codes.schemes(), "SRT", "SNM3", "RADLEX", "FMA"))
"""Coding schemes whose codes and meanings are public."""

_DESCRIPTIONS = ("StudyDescription", "SeriesDescription", "ProtocolName", "ContrastBolusAgent")
_PATIENT_GROUP = 0x0010
"""Dates of this group (of birth, and the like) are removed, not shifted."""

_OLDEST_YEARS = 89
_AGE = re.compile(r"(\d{3})([DWMY])")
_STANDARD_UID = "1.2.840.10008."
_NUMBERS = frozenset(("DS", "IS", "FD", "FL", "SL", "SS", "UL", "US", "SV", "UV"))
_TIME = re.compile(r"\d{2}:?(?:\d{2}:?(?:\d{2}(?:\.\d{1,6})?)?)? *$")

_LEAST_DAYS, _MOST_DAYS = 10 * 365, 20 * 365
"""At least ten years: a patient's true dates seldom lie further apart, so that no shifted date
equals a true one; back in time, so that no examination lies in the future."""

_LISTED = """
abdomen abdominal additional adult axial axiale body bone bones cervical chest contrast cor
coronal cortical cspine ct cta dual energy head helical iv kernel knochen l l1 l2 l3 l4 l5
lendenwirbelsaeule lspine lumbar lumbosacral lws medium mpr native neck non noncontrast o
osteo pelvis plain post pre recon reconstruction routine s1 sacrum sag sagittal scan scout
series sharp soft spine spiral standard t10 t11 t12 thin thoracic thorax tissue topogram
trauma tspine unenhanced vertebra vertebral volume w with without wo
"""
_WORDS = frozenset(_LISTED.split())
_WORD = re.compile(r"[^\W\d_][^\W_]*|(?<![\w.])\d{1,2}\.\d(?![\w.])|(?<![\w.])\d{1,2}(?= ?mm\b)")
"""A word, or a thickness; days and months are written differently."""


@dataclass(frozen=True)
class Secret:
    """Keyed replacements, the same in every run with the same key.

    Parameters
    ----------
    key : bytes
        The key of the pseudonyms.
    """

    key: bytes

    def uid(self, text: str) -> str:
        """Return the UID that replaces another: 2.25 and a UUID (PS3.5 B.2)."""
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', text)[:16], version=4).int}"

    def shift(self, patient_key: str) -> int:
        """Return the days, below zero, by which all dates of a patient move."""
        number = int.from_bytes(self._digest("shift", patient_key)[:8])
        return -(_LEAST_DAYS + number % (_MOST_DAYS - _LEAST_DAYS + 1))

    def _digest(self, purpose: str, text: str) -> bytes:
        message = f"deidentify {purpose}\0{text}".encode("utf-8", "surrogateescape")
        return hmac.new(self.key, message, hashlib.sha256).digest()


class Keys(NamedTuple):
    """The pseudonyms of an image.

    Attributes
    ----------
    patient : str
        Becomes PatientID and PatientName.
    series, image : str
        Replace blank UIDs, which no DICOM file may lack.
    """

    patient: str
    series: str
    image: str


def remove_identity(dataset: Dataset, keys: Keys, secret: Secret) -> None:
    """Change `dataset` so that it identifies no one; pixels are left as they are.

    Parameters
    ----------
    dataset : pydicom.Dataset
        With its file meta information, which is replaced.
    keys : Keys
    secret : Secret
        Determines UIDs and the shift of dates.
    """
    shift_days = secret.shift(keys.patient)
    _treat(dataset, _actions(secret, shift_days), shift_days)
    dataset.PatientID = dataset.PatientName = keys.patient
    _fill_uids(dataset, keys, secret)
    _mark(dataset)
    _renew_meta(dataset)


def _fill_uids(dataset: Dataset, keys: Keys, secret: Secret) -> None:
    replacements = {
        "SOPInstanceUID": keys.image,
        "SeriesInstanceUID": keys.series,
        "StudyInstanceUID": f"study of {keys.series}",
    }
    dataset.SOPClassUID = sop_class_uid(dataset)
    for keyword, key in replacements.items():
        if not dataset.get(keyword):
            setattr(dataset, keyword, secret.uid(key))


def _treat(dataset: Dataset, actions: dict[tuple[int, ...], Rule], shift_days: int) -> None:
    """Apply the actions to a dataset and then to every item that remains in it.

    Dates and names of people that the table lacks are treated as those that it lists.
    """
    _drop_unreadable(dataset)
    library.anonymize_dataset(dataset, base_rules_gen=lambda: actions)
    for element in dataset:
        if isinstance(element.value, Sequence):
            _remove_local_codes(dataset, element.value, element.tag)
            for item in element.value:
                _treat(item, actions, shift_days)
        elif element.tag not in attributes():
            if element.VR in ("DA", "DT"):
                _change(dataset, element.tag, lambda text: shifted(text, shift_days))
            elif element.VR == "PN":
                element.value = ""
    if "PatientSex" in dataset and dataset.PatientSex not in ("F", "M", "O"):
        dataset.PatientSex = ""
    _cap_age(dataset)


def _remove_local_codes(dataset: Dataset, items: Sequence, tag: BaseTag) -> None:
    """Delete codes of a hospital's own scheme, whose meanings are free text (option 113105)."""
    kept = [item for item in items if item.get("CodingSchemeDesignator", "DCM") in _SCHEMES]
    if len(kept) < len(items):
        items[:] = kept
        if not kept:
            del dataset[tag]


def _drop_unreadable(dataset: Dataset) -> None:
    """Delete elements whose value does not fit their VR: what they contain is unknown."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
        except CONVERSION_ERRORS:
            del dataset[tag]
        else:
            if not _fits(element):
                del dataset[tag]


def _fits(element: DataElement) -> bool:
    """Return whether a number or time of day is valid; pydicom accepts any text for either."""
    if not isinstance(element.value, str) or not element.value:
        return True
    return element.VR not in _NUMBERS and (element.VR != "TM" or bool(_TIME.match(element.value)))


def _actions(secret: Secret, shift_days: int) -> dict[tuple[int, ...], Rule]:
    """Return the profile: the library's table, changed for the options and where it has gaps."""

    def new_uid(dataset: Dataset, tag: Any) -> None:
        _change(dataset, tag, lambda text: _uid(text, secret))

    def later(dataset: Dataset, tag: Any) -> None:
        _change(dataset, tag, lambda text: shifted(text, shift_days))

    own = {"UI": new_uid, "DA": later, "DT": later, "TM": library.keep}
    return {entry: own.get(vr, rule) for entry, (vr, rule) in _profile().items()}


@lru_cache(maxsize=1)
def _profile() -> dict[tuple[int, ...], tuple[str, Rule]]:
    """Return the rules that are the same for all patients, by entry.

    The first value is "UI", "DA", "DT" or "TM" where the rule depends on the patient, else "".
    """
    table = attributes()
    profile: dict[tuple[int, ...], tuple[str, Rule]] = {}
    for entry, rule in rules().items():
        vr, keyword = table.get(entry[0] << 16 | entry[1], ("", ""))
        if len(entry) > 2:
            # The whole group: without its data, an overlay's rows and columns mean nothing.
            profile[entry[0], 0, entry[2], 0] = "", library.delete
        elif entry in _CHARACTERISTICS:
            profile[entry] = "", library.keep
        elif keyword in _DESCRIPTIONS:
            profile[entry] = "", _describe
        elif vr == "SQ":
            references = rule is library.delete_or_empty_or_replace_UID
            profile[entry] = "", library.keep if references else library.delete
        elif vr in ("DA", "DT", "TM") and entry[0] == _PATIENT_GROUP:
            profile[entry] = "", _empty if rule is library.empty else _remove
        elif vr in ("UI", "DA", "DT", "TM"):
            profile[entry] = vr, rule
        else:
            profile[entry] = "", rule
    return profile


def _change(dataset: Dataset, tag: Any, change: Any) -> None:
    element = dataset.get(tag)
    if element is not None and element.value:
        multiple = isinstance(element.value, MultiValue | list)
        element.value = (
            [change(str(value)) for value in element.value]
            if multiple
            else change(str(element.value))
        )


def _describe(dataset: Dataset, tag: Any) -> None:
    _change(dataset, tag, clean)


def _remove(dataset: Dataset, tag: Any) -> None:
    if tag in dataset:
        del dataset[tag]


def _empty(dataset: Dataset, tag: Any) -> None:
    if tag in dataset:
        dataset[tag].value = ""


def shifted(text: str, days: int) -> str:
    """Return a DA or DT value moved by `days`, its time of day kept; "" for no valid date."""
    digits = text.replace(".", "", 2)[:8] if text[4:5] == "." else text[:8]
    try:
        day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) + timedelta(days)
    except (ValueError, OverflowError):
        return ""
    return f"{day:%Y%m%d}{text[10:] if text[4:5] == '.' else text[8:]}"


def _uid(text: str, secret: Secret) -> str:
    return text if text.startswith(_STANDARD_UID) else secret.uid(text)


def _cap_age(dataset: Dataset) -> None:
    """Write 090Y for every age over 89 years, and remove what is no age."""
    if "PatientAge" not in dataset:
        return
    age = _AGE.fullmatch(str(dataset.PatientAge).strip())
    if not age:
        del dataset.PatientAge
    elif age[2] == "Y" and int(age[1]) > _OLDEST_YEARS:
        dataset.PatientAge = "090Y"


def _mark(dataset: Dataset) -> None:
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = list(METHOD)
    dataset.DeidentificationMethodCodeSequence = Sequence([_item(code) for code in _OPTIONS])
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"


def _item(code: Any) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def _renew_meta(dataset: Dataset) -> None:
    """Replace preamble and file meta information: both may contain arbitrary text."""
    syntax = dataset.file_meta.TransferSyntaxUID
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
    meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
    meta.TransferSyntaxUID = syntax
    dataset.file_meta, dataset.preamble = meta, bytes(128)


def clean(text: str) -> str:
    """Return the listed words of `text`, and thicknesses, in their order (PS3.15 E.3.5).

    Examples
    --------
    >>> clean("CT LUMBAR SPINE Braskacker 506445 2.5 mm")
    'CT LUMBAR SPINE 2.5'
    """
    words = [word for word in _WORD.findall(text) if word[0].isdigit() or word.lower() in _WORDS]
    return " ".join(words)[:64].strip()
