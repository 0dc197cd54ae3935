import io
from contextlib import nullcontext
from datetime import date, timedelta

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dsnet.deidentify.burned_in import Reason, refusal
from dsnet.deidentify.profile import METHOD, Keys, Secret, clean, remove_identity, shifted
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


def test_every_text_of_the_table_goes() -> None:
    """Fill each attribute of the table with a name, top and nested, and look for the name."""
    texts = ("LO", "SH", "ST", "LT", "UT", "UC", "PN")
    tags = [tag for tag, (vr, _) in attributes().items() if vr in texts]
    item, dataset = Dataset(), slice_()
    for target in (item, dataset):
        for tag in tags:
            target.add_new(tag, attributes()[tag][0], NAME)
    block = dataset.private_block(0x0011, "MAKER", create=True)
    block.add_new(1, "LO", NAME)
    dataset.ContributingEquipmentSequence = Sequence([item])
    for element in (0x0022, 0x1500, 0x4000):
        dataset.add_new((0x6002, element), "LO", NAME)
    remove_identity(dataset, KEYS, SECRET)
    assert len(tags) > 200
    assert "Thornabee" not in str(dataset)
    assert len(dataset.ContributingEquipmentSequence) == 1
    assert not any(
        tag.is_private or tag.group == 0x6002 for tag in map(BaseTag, list(dataset._dict))
    )


def test_uids_are_remapped_alike_wherever_they_stand() -> None:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = (
        CTImageStorage,
        "1.2.3.4.5",
    )
    dataset = treated(ReferencedImageSequence=Sequence([reference]))
    (item,) = dataset.ReferencedImageSequence
    assert item.ReferencedSOPInstanceUID == dataset.SOPInstanceUID == SECRET.uid("1.2.3.4.5")
    assert item.ReferencedSOPClassUID == dataset.SOPClassUID == CTImageStorage
    assert dataset.StudyInstanceUID.startswith("2.25.")
    assert len(dataset.StudyInstanceUID) <= 64
    assert SECRET.uid("1.2.3") != Secret(b"l" * 32).uid("1.2.3")
    assert (
        treated(FrameOfReferenceUID="1.2.840.10008.1.4.1.1").FrameOfReferenceUID[:9] == "1.2.840.1"
    )


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
    item = Dataset()
    item.ContributionDateTime = "20200302101112.5"
    dataset = treated(
        ContentDate="20200311",
        AcquisitionDateTime="20200301101112.25+0100",
        PatientBirthTime="101112",
        LastMenstrualDate="20200101",
        ContributingEquipmentSequence=Sequence([item]),
        DateOfLastCalibration=["20200101", "20200202"],
    )
    moved = SECRET.shift(PATIENT)
    assert dataset.StudyDate == f"{date(2020, 3, 1) + timedelta(moved):%Y%m%d}"
    assert dataset.StudyTime == "101112"
    assert dataset.AcquisitionDateTime == f"{dataset.StudyDate}101112.25+0100"
    assert dataset.ContentDate == f"{date(2020, 3, 11) + timedelta(moved):%Y%m%d}"
    assert len(dataset.DateOfLastCalibration) == 2
    assert "20200302" not in str(dataset)
    for keyword in ("PatientBirthTime", "LastMenstrualDate"):
        assert keyword not in dataset


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
    ("keyword", "vr"), [("SliceThickness", "DS"), ("StudyTime", "TM"), ("InstanceNumber", "IS")]
)
def test_text_where_none_belongs_goes(keyword: str, vr: str) -> None:
    dataset, tag = slice_(), pydicom.tag.Tag(keyword)
    dataset._dict[tag] = pydicom.dataelem.RawDataElement(tag, vr, 9, b"Thornabee", 0, False, True)
    with quiet():
        remove_identity(dataset, KEYS, SECRET)
    assert keyword not in dataset
    assert "Thornabee" not in str(dataset)


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
    assert dataset.StudyDescription == dataset.SeriesDescription == expected
    assert "ImageComments" not in dataset


def test_codes_of_a_hospital_go() -> None:
    own, public = Dataset(), Dataset()
    for item, scheme in ((own, "99RIS"), (public, "SCT")):
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", scheme, f"in {scheme}"
    dataset = treated(
        ProcedureCodeSequence=Sequence([own]), AnatomicRegionSequence=Sequence([own, public])
    )
    assert "ProcedureCodeSequence" not in dataset
    assert [item.CodeMeaning for item in dataset.AnatomicRegionSequence] == ["in SCT"]


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
