"""One dataset without identity: DICOM PS3.15 Annex E, Basic Profile with three options.

A slice keeps the attributes of a list (`dsnet.deidentify.attributes`), and of these the values that
have their form. dicom-anonymizer then applies table E.1-1 to what is left, so that an attribute of
the table stays only if `BY_OPTION` names it as well. The options are 113105 (Clean Descriptors),
113107 (Retain Longitudinal Temporal Information With Modified Dates) and 113108 (Retain Patient
Characteristics).
"""

import hashlib
import hmac
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

from dicomanonymizer import simpledicomanonymizer as library
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.tag import Tag
from pydicom.uid import UID, CTImageStorage

from dsnet.deidentify.attributes import ATTRIBUTES, STORED_VALUE, Patient
from dsnet.deidentify.pixel_data import cut
from dsnet.dicom import header
from dsnet.dicom.header import CONVERSION_ERRORS
from dsnet.dicom.identifying import PRIVATE, Value, value
from dsnet.dicom.ps315 import EDITION, Rule, attributes, rules

METHOD = (
    f"DICOM PS3.15 {EDITION} Basic Application Confidentiality Profile",
    "attributes of a fixed list alone, with values of a fixed form",
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

_STAYING = """
AccessionNumber AcquisitionDate AcquisitionDateTime AcquisitionTime ContentDate ContentTime
ContrastBolusAgent FrameOfReferenceUID PatientAge PatientBirthDate PatientID PatientName PatientSex
PatientSize PatientWeight ProtocolName ReferringPhysicianName SeriesDate SeriesDescription
SeriesInstanceUID SeriesTime SOPInstanceUID StudyDate StudyDescription StudyID StudyInstanceUID
StudyTime
"""
BY_OPTION = frozenset(_STAYING.split())
"""Attributes of table E.1-1 that stay: their values are replaced, emptied, or of an option."""

_LEAST_DAYS, _MOST_DAYS = 10 * 365, 20 * 365
"""At least ten years: a patient's true dates seldom lie further apart, so that no shifted date
equals a true one; back in time, so that no examination lies in the future."""

_FORMS = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"), "text"),
    **dict.fromkeys(("DA", "DT"), "date"),
    "PN": "name",
    "UI": "uid",
}
"""How a value is searched for, by VR."""

_LARGEST_TEXT = 4096
_REPLACEMENTS = {"RescaleType": "US"}
"""Of required values that do not have their form; blank UIDs are filled later."""


class FormError(Exception):
    """A slice that cannot be written without identity and still mean the same."""


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

    def kernel(self, name: str) -> str:
        """Return a code of ten characters for the name of a reconstruction kernel."""
        return f"K-{self._digest('kernel', name)[:4].hex()}"

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
    """Change `dataset` so that it identifies no one; the image is left as it is.

    Parameters
    ----------
    dataset : pydicom.Dataset
        A CT slice with its file meta information, which is replaced.
    keys : Keys
    secret : Secret
        Determines UIDs and the shift of dates.

    Raises
    ------
    FormError
        If a value that the image depends on does not have its form.
    dsnet.deidentify.pixel_data.StreamError
        If the pixel data are damaged.
    """
    patient = Patient(keys.patient, secret.shift(keys.patient), secret.uid, secret.kernel)
    contrast = header.read(dataset).contrast == "present"
    kept = _kept(dataset, patient)
    for tag in set(dataset.keys()) - {Tag("PixelData")}:
        del dataset[tag]
    dataset.update(kept)
    if contrast:  # a code, a dose or a route may be all that says so
        dataset.ContrastBolusAgent = "CONTRAST"
    if ("WindowCenter" in dataset) != ("WindowWidth" in dataset):
        del dataset["WindowCenter" if "WindowCenter" in dataset else "WindowWidth"]
    if "BodyPartExamined" not in dataset:
        dataset.Laterality = ""  # type 2C: required unless the body part is known to be unpaired
    _fill_uids(dataset, keys, secret)
    library.anonymize_dataset(dataset, base_rules_gen=partial(_rules_for, dataset))
    if "PixelData" in dataset:
        cut(dataset, dataset.file_meta.TransferSyntaxUID)
    _mark(dataset)


def _kept(dataset: Dataset, patient: Patient) -> Dataset:
    """Return the attributes of the list with the values that have their form."""
    kept = Dataset()
    for attribute in ATTRIBUTES:
        tag = Tag(attribute.keyword)
        present = tag in dataset
        if not (present or attribute.type == "2"):
            continue
        values = _values(dataset, attribute.keyword) if present else []
        chosen = [] if values is None else attribute.form.apply(values, patient)
        if chosen:
            # The VR of padding depends on the sign of the pixels: it stays as it was read.
            vr = dataset[tag].VR if attribute.form is STORED_VALUE else dictionary_VR(tag)
            kept.add_new(tag, vr, chosen if len(chosen) > 1 else chosen[0])
        elif attribute.type == "2":
            kept.add_new(tag, dictionary_VR(tag), None)
        elif attribute.type == "1":
            kept.add_new(tag, dictionary_VR(tag), _REPLACEMENTS.get(attribute.keyword, ""))
        elif attribute.type == "!" and values != []:
            raise FormError(attribute.keyword)
    return kept


def _values(dataset: Dataset, keyword: str) -> list[Any] | None:
    """Return the values of an element, [] for a blank, None where they do not fit its VR."""
    try:
        content = dataset[keyword].value
    except CONVERSION_ERRORS:
        return None
    values = list(content) if isinstance(content, MultiValue | list) else [content]
    return [] if values in ([None], [""]) else values


def _fill_uids(dataset: Dataset, keys: Keys, secret: Secret) -> None:
    """Give blank UIDs keyed ones; no DICOM file may lack them."""
    dataset.SOPClassUID = CTImageStorage
    replacements = {
        "SOPInstanceUID": keys.image,
        "SeriesInstanceUID": keys.series,
        "StudyInstanceUID": f"study of {keys.series}",
    }
    if "FrameOfReferenceUID" in dataset:
        replacements["FrameOfReferenceUID"] = f"frame of reference of {keys.series}"
    for keyword, key in replacements.items():
        if not dataset.get(keyword):
            setattr(dataset, keyword, secret.uid(key))


@lru_cache(maxsize=1)
def _profile() -> dict[tuple[int, ...], Rule]:
    """Return the library's action for each entry of the table, except those of `BY_OPTION`."""
    named = {tag: keyword for tag, (_, keyword) in attributes().items()}
    return {
        entry: rule
        for entry, rule in rules().items()
        if len(entry) > 2 or named[entry[0] << 16 | entry[1]] not in BY_OPTION
    }


def _rules_for(dataset: Dataset) -> dict[tuple[int, ...], Rule]:
    """Return those rules of `_profile` that meet an element: the library asks for each in turn.

    The rules of repeating groups look into sequences, too, and are all returned.
    """
    present = (*dataset.keys(), *dataset.file_meta.keys())
    tags = {(tag.group, tag.element) for tag in present}
    return {entry: rule for entry, rule in _profile().items() if len(entry) > 2 or entry in tags}


def _mark(dataset: Dataset) -> None:
    """Say what was done; replace preamble and file meta information, which may hold any text."""
    options = []
    for code in _OPTIONS:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
        item.CodeMeaning = code.meaning
        options.append(item)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = list(METHOD)
    dataset.DeidentificationMethodCodeSequence = options
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
    meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    dataset.file_meta, dataset.preamble = meta, bytes(128)


def texts(dataset: Dataset) -> set[Value]:
    """Return the text, dates and UIDs of every element, private and nested ones too.

    What an original holds and what was made of it does not was removed: the search for identifying
    values searches other outputs for it.
    """
    return {*_texts(dataset), *_texts(getattr(dataset, "file_meta", None) or Dataset())}


def _texts(dataset: Dataset) -> Iterator[Value]:
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            content = element.value
        except CONVERSION_ERRORS:
            continue
        kind = PRIVATE if element.tag.is_private else element.keyword or "unknown element"
        if isinstance(content, Sequence):
            for item in content:
                yield from _texts(item)
        elif isinstance(content, bytes):
            if len(content) <= _LARGEST_TEXT and content.strip(b" \0").isascii():
                yield from _value(kind, "text", content.decode("ascii", "ignore"))
        elif element.VR in _FORMS:
            for one in content if isinstance(content, MultiValue | list) else [content]:
                yield from _value(kind, _FORMS[element.VR], str(one or ""))


def _value(kind: str, form: Any, text: str) -> Iterator[Value]:
    normal = value(kind, form, " ".join(text.split()))
    if normal and normal.text.isprintable():
        yield normal
