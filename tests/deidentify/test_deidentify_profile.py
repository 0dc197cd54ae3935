import io
import re
from contextlib import nullcontext
from datetime import date, timedelta
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dsnet.deidentify.attributes import ATTRIBUTES, clean, shifted, table
from dsnet.deidentify.pixel_data import Reason, StreamError, refusal
from dsnet.deidentify.profile import (
    BY_OPTION,
    METHOD,
    FormError,
    Keys,
    Secret,
    remove_identity,
    texts,
)
from dsnet.dicom.ps315 import attributes, rules
from dsnet.dicom.reader import quiet

SECRET = Secret(b"k" * 32)
PATIENT = "P-0123456789abcdef"
KEYS = Keys(PATIENT, "S-0123456789abcdef", "I-0123456789abcdef")
NAME, ID = "Thornabee^Greta", "000123"


def slice_(**elements: object) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.SourceApplicationEntityTitle = "THORNABEE"
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3.4.5"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = NAME, ID, "19500229"
    dataset.StudyDate, dataset.StudyTime = "20200301", "101112"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def treated(**elements: object) -> Dataset:
    dataset = slice_(**elements)
    remove_identity(dataset, KEYS, SECRET)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    stream.seek(0)
    return pydicom.dcmread(stream)


def test_marks_of_the_profile() -> None:
    dataset = treated()
    assert dataset.PatientName == dataset.PatientID == PATIENT
    assert dataset.PatientIdentityRemoved == "YES"
    assert dataset.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = {item.CodeValue for item in dataset.DeidentificationMethodCodeSequence}
    assert codes == {"113100", "113105", "113107", "113108"}
    assert all(len(text) <= 64 for text in METHOD)
    assert dataset.PatientBirthDate == ""
    assert "SourceApplicationEntityTitle" not in dataset.file_meta
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID


NEEDED = {attribute.keyword for attribute in ATTRIBUTES if attribute.type == "!"} | {"PixelData"}


def dictionary() -> list[tuple[int, str]]:
    """Return tag and VR of each attribute of pydicom's dictionary, an unknown and a private one."""
    repeating = [
        (int(mask.replace("x", "0"), 16), vr) for mask, (vr, *_) in RepeatersDictionary.items()
    ]
    listed = [(int(tag), entry[0]) for tag, entry in DicomDictionary.items()]
    others = [(0x00091001, "LO"), (0x00189999, "LO")]
    return [(tag, vr) for tag, vr in (*listed, *repeating, *others) if tag >= 0x00080000]


def plant(dataset: Dataset, tag: int, vr: str, content: bytes) -> None:
    """Put bytes into an element, as text into the item of a sequence."""
    if vr == "SQ":
        item = Dataset()
        item.add_new("CodeMeaning", "LO", content.decode())
        item.add_new("ReferencedSOPInstanceUID", "UI", "1.2.3.99506445")
        dataset.add(DataElement(tag, "SQ", Sequence([item])))
    else:
        raw = RawDataElement(BaseTag(tag), vr[:2], len(content), content, 0, False, True)
        dataset._dict[BaseTag(tag)] = raw


def stayed(values: dict[str, bytes]) -> set[str]:
    """Plant a value by VR in each attribute, and return those in which a part of it stays."""
    named = [(tag, vr) for tag, vr in dictionary() if keyword_for_tag(tag) not in NEEDED]
    assert len(named) > 5000
    kept = set()
    for start in range(0, len(named), 64):
        dataset = slice_()
        for tag, vr in named[start : start + 64]:
            plant(dataset, tag, vr, values.get(vr, b"Thornabee^Greta 506445"))
        with quiet():
            remove_identity(dataset, KEYS, SECRET)
            assert not MARKS.search(written(dataset))
            kept |= {element.keyword for element in dataset if MARKS.search(str(element).encode())}
    return kept


MARKS = re.compile(rb"506445|19440715|1944-07-15|thornabee|greta|1\.2\.3\.99", re.IGNORECASE)


def test_text_in_any_attribute_goes() -> None:
    assert stayed({}) == set()


VALID = {
    "AE": b"THORNABEE506445",
    "AS": b"044Y",
    "CS": b"THORNABEE_506445",
    "DA": b"19440715",
    "DT": b"19440715506445.506445",
    "DS": b"506445.506445",
    "IS": b"506445",
    "TM": b"101112.506445",
    "UI": b"1.2.3.99506445",
    "UR": b"https://thornabee.example/506445",
}
"""An identifying value in the form of each VR."""


def test_identifying_values_of_the_right_form_go() -> None:
    assert stayed(VALID) == set()


@pytest.mark.parametrize("keyword", sorted(NEEDED))
def test_a_slice_whose_image_would_mean_something_else_is_refused(keyword: str) -> None:
    dataset, tag = slice_(), tag_for_keyword(keyword)
    plant(dataset, tag, "LO", b"Thornabee^Greta 506445")
    with quiet(), pytest.raises((FormError, StreamError)):
        remove_identity(dataset, KEYS, SECRET)


def written(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_the_attributes_that_stay_are_documented() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "deidentify.md").read_text(encoding="utf-8")
    assert table() in text


def test_attributes_of_the_table_stay_by_an_option_alone() -> None:
    named = {keyword for _, keyword in attributes().values()}
    assert named & {attribute.keyword for attribute in ATTRIBUTES} == BY_OPTION
    tags = [tag_for_keyword(attribute.keyword) for attribute in ATTRIBUTES]
    assert tags == sorted(set(tags))


def test_required_attributes_are_emptied_or_replaced() -> None:
    dataset = treated(
        ImageType=["THORNABEE", "GRETA", "AXIAL", "506445"],
        RescaleType="Thornabee",
        SeriesNumber="506445",
        Manufacturer="Thornabee",
        FrameOfReferenceUID="",
        WindowCenter=40,
    )
    assert dataset.ImageType == ["DERIVED", "SECONDARY", "AXIAL"]
    assert dataset.RescaleType == "US"
    assert dataset.SeriesNumber is None
    assert dataset.Manufacturer == dataset.StudyID == dataset.AccessionNumber == ""
    assert dataset.FrameOfReferenceUID == SECRET.uid(f"frame of reference of {KEYS.series}")
    assert "WindowCenter" not in dataset


@pytest.mark.parametrize(
    ("keyword", "value", "kept"),
    [
        ("ConvolutionKernel", "B60s", "B60s"),
        ("ConvolutionKernel", ["Br64d", "3"], ["Br64d", "3"]),
        ("ConvolutionKernel", ["Br64d", "Thornabee"], SECRET.kernel("Br64d\\Thornabee")),
        ("ConvolutionKernel", "BONEPLUS", "BONEPLUS"),
        ("ConvolutionKernel", "FC30", "FC30"),
        ("ConvolutionKernel", "THORNABEE", SECRET.kernel("THORNABEE")),
        ("Manufacturer", "SIEMENS Healthineers of Skerrywold", "SIEMENS"),
        ("Manufacturer", "TOSHIBA", "CANON"),
        ("ContrastBolusAgent", "Thornabee 350", "CONTRAST"),
        ("ContrastBolusAgent", "w/o", "NONE"),
        ("BodyPartExamined", "LSPINE", "LSPINE"),
        ("BodyPartExamined", "THORNABEE", None),
        ("PatientPosition", "FFDR", "FFDR"),
        ("PatientOrientation", ["L", "P"], ["L", "P"]),
        ("PatientOrientation", ["GRETA", "P"], None),
        ("WindowCenter", [40, 400], None),
        ("KVP", "120", 120),
        ("KVP", "506445", None),
        ("StudyTime", "101112.506445", "101112"),
        ("StudyTime", "1011", "101100"),
        ("AcquisitionDateTime", "20200301101112.25+0100", f"{shifted('20200301', -1)}"),
    ],
)
def test_forms_of_values(keyword: str, value: object, kept: object) -> None:
    dataset = treated(**{keyword: value})
    if keyword == "AcquisitionDateTime":
        kept = f"{dataset.StudyDate}101112"
    assert (dataset.get(keyword) or None) == kept


def test_contrast_that_a_code_alone_names_is_kept() -> None:
    code = Dataset()
    code.CodeMeaning = "Iohexol"
    assert treated(ContrastBolusAgentSequence=Sequence([code])).ContrastBolusAgent == "CONTRAST"
    assert "ContrastBolusAgent" not in treated()


def test_uids_are_replaced_alike_in_every_slice() -> None:
    one, other = treated(), treated(SOPInstanceUID="1.2.3.4.6", InstanceNumber=2)
    assert one.StudyInstanceUID == other.StudyInstanceUID == SECRET.uid("1.2.3")
    assert one.SOPInstanceUID == SECRET.uid("1.2.3.4.5") != other.SOPInstanceUID
    assert one.StudyInstanceUID.startswith("2.25.")
    assert len(one.StudyInstanceUID) <= 64
    assert SECRET.uid("1.2.3") != Secret(b"l" * 32).uid("1.2.3")


def test_removed_text_is_listed_with_its_attribute() -> None:
    item = Dataset()
    item.RequestedProcedureDescription = "for Thornabee"
    dataset = slice_(
        RequestAttributesSequence=Sequence([item]),
        StationName="CTSKERRY",
        BodyPartExamined="LSPINE",
        StudyDescription="CT Thornabee",
    )
    block = dataset.private_block(0x0011, "MAKER", create=True)
    block.add_new(1, "LO", "in Skerrywold")
    before = texts(dataset)
    remove_identity(dataset, KEYS, SECRET)
    removed = {(value.kind, value.text) for value in before - texts(dataset)}
    assert {
        ("RequestedProcedureDescription", "for Thornabee"),
        ("StationName", "CTSKERRY"),
        ("StudyDescription", "CT Thornabee"),
        ("SourceApplicationEntityTitle", "THORNABEE"),
        ("private element", "in Skerrywold"),
        ("StudyDate", "2020-03-01"),
    } <= removed
    assert not any(kind == "BodyPartExamined" for kind, _ in removed)


def test_blank_uids_follow_from_the_keys() -> None:
    dataset = treated(SOPInstanceUID="", SeriesInstanceUID="", StudyInstanceUID="")
    assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
    uids = (dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID)
    assert len(set(uids)) == 3
    assert dataset.SeriesInstanceUID == SECRET.uid(KEYS.series)


def test_a_blank_sop_class_is_that_of_the_meta_information() -> None:
    dataset = slice_(SOPClassUID="")
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    remove_identity(dataset, KEYS, SECRET)
    assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID == CTImageStorage


def test_dates_move_together_and_times_stay() -> None:
    dataset = treated(
        ContentDate="20200311", PatientBirthTime="101112", DateOfLastCalibration="20200101"
    )
    moved = SECRET.shift(PATIENT)
    assert dataset.StudyDate == f"{date(2020, 3, 1) + timedelta(moved):%Y%m%d}"
    assert dataset.StudyTime == "101112"
    assert dataset.ContentDate == f"{date(2020, 3, 11) + timedelta(moved):%Y%m%d}"
    assert "PatientBirthTime" not in dataset
    assert "DateOfLastCalibration" not in dataset


@settings(deadline=None, max_examples=30)
@given(st.binary(min_size=8, max_size=8), st.dates(date(1900, 1, 1), date(2030, 1, 1)))
def test_shifts_are_never_zero_and_keep_intervals(key: bytes, day: date) -> None:
    days = Secret(key).shift(PATIENT)
    assert -7300 <= days <= -3650
    later = day + timedelta(180)
    new, new_later = (date.fromisoformat(shifted(f"{one:%Y%m%d}", days)) for one in (day, later))
    assert new_later - new == later - day
    assert new != day


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2020.03.01", "20200302"), ("", ""), ("2020", ""), ("20201301", ""), ("Thornabee", "")],
)
def test_shift_of_odd_dates(text: str, expected: str) -> None:
    assert shifted(text, 1) == expected


@pytest.mark.parametrize(
    ("age", "expected"),
    [("089Y", "089Y"), ("090Y", "090Y"), ("103Y", "090Y"), ("011M", "011M"), ("ninety", None)],
)
def test_ages_over_89_are_capped(age: str, expected: str | None) -> None:
    with pytest.warns(UserWarning, match="Invalid") if expected is None else nullcontext():
        dataset = slice_(PatientAge=age)
    remove_identity(dataset, KEYS, SECRET)
    assert dataset.get("PatientAge") == expected


def test_characteristics_stay() -> None:
    dataset = treated(PatientSex="F", PatientSize="1.63", PatientWeight="59", PatientAge="055Y")
    assert (dataset.PatientSex, dataset.PatientAge) == ("F", "055Y")
    assert (dataset.PatientSize, dataset.PatientWeight) == (1.63, 59)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CT LUMBAR SPINE Braskacker", "CT LUMBAR SPINE"),
        ("L-SPINE BONE 2.5", "L SPINE BONE 2.5"),
        ("Dr. Long, 12.03.1950, 506445", ""),
        ("thin 3 mm of 45 Elm Road", "thin 3"),
        ("Skerrywold 01 02 1950", ""),
        ("", ""),
    ],
)
def test_descriptions_keep_listed_words(text: str, expected: str) -> None:
    assert clean(text) == expected
    dataset = treated(StudyDescription=text, SeriesDescription=text, ImageComments=text)
    assert dataset.get("StudyDescription", "") == dataset.get("SeriesDescription", "") == expected
    assert "ImageComments" not in dataset


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({}, None),
        ({"BurnedInAnnotation": "NO"}, None),
        ({"BurnedInAnnotation": "YES"}, Reason.BURNED_IN),
        ({"ConversionType": "WSD"}, Reason.CAPTURE),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, Reason.CAPTURE),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, Reason.SCREEN),
        ({"ImageType": ["ORIGINAL", "SECONDARY"]}, Reason.SCREEN),
        ({"SamplesPerPixel": 3}, Reason.COLOUR),
        ({"BitsStored": 8}, Reason.EIGHT_BITS),
        ({"BitsStored": 12}, None),
    ],
)
def test_suspect_pixels_are_refused(elements: dict[str, object], reason: Reason | None) -> None:
    assert refusal(slice_(**elements)) is reason


def test_an_overlay_within_the_pixels_is_refused() -> None:
    dataset = slice_()
    dataset.add_new((0x6000, 0x0102), "US", 12)
    assert refusal(dataset) is Reason.OVERLAY


def test_the_table_is_the_whole_one() -> None:
    assert len(rules()) > 600
    assert attributes()[0x00100010] == ("PN", "PatientName")
