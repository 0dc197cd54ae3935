from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import UID, CTImageStorage
from support.made_phantom import TINY, Made

from dsnet.phantom import examination
from dsnet.phantom.cases import ORDINARY, Plan
from dsnet.phantom.examination import Protocol, sample_scanner
from dsnet.phantom.patient import write_patient
from dsnet.phantom.person import sample_identity
from dsnet.private import PHANTOM_UID_ROOT

pytestmark = pytest.mark.slow

PROTOCOL = Protocol("ge", "explicit", "BONE", 2.5, 0.5)

# PS3.3 A.3, CT Image IOD: type 1 attributes hold a value, type 2 are at least there.
TYPE_1 = """
    SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality FrameOfReferenceUID
    ImageType SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored
    HighBit PixelRepresentation PixelSpacing ImageOrientationPatient ImagePositionPatient
    RescaleIntercept RescaleSlope PatientPosition PixelData
"""
TYPE_2 = """
    PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime AccessionNumber
    ReferringPhysicianName StudyID SeriesNumber Manufacturer InstanceNumber SliceThickness KVP
    AcquisitionNumber PositionReferenceIndicator
"""


@pytest.fixture(scope="module")
def included(made: Made) -> dict[str, pydicom.Dataset]:
    names = [name for name, criterion in made.answers["files"].items() if not criterion]
    return {name: pydicom.dcmread(made.dicom / name) for name in names}


def test_slices_are_true_ct_images(included: dict[str, pydicom.Dataset]) -> None:
    assert len(included) == 15 * 8 - 4
    for dataset in included.values():
        assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID == CTImageStorage
        assert all(dataset.get(keyword) not in (None, "") for keyword in TYPE_1.split())
        assert all(keyword in dataset for keyword in TYPE_2.split())
        assert dataset.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
        assert dataset.file_meta.ImplementationVersionName == "DSNET_PHANTOM"
        assert "PYDICOM" not in str(dataset.file_meta)


def test_every_syntax_and_vendor_decodes_to_hu(included: dict[str, pydicom.Dataset]) -> None:
    assert len({dataset.file_meta.TransferSyntaxUID for dataset in included.values()}) == 5
    assert len({dataset.Manufacturer for dataset in included.values()}) == 4
    for dataset in included.values():
        stored = dataset.pixel_array
        hu = stored * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        assert hu.shape == (128, 128)
        assert hu.min() >= -1024
        assert 500 < hu.max() < 2500
        # Fat and muscle have their HU regardless of the coding.
        assert np.median(hu[20:100:4, 20:100:4]) == pytest.approx(-20, abs=110)


def test_uids_belong_to_one_image_each(included: dict[str, pydicom.Dataset]) -> None:
    uids = Counter(dataset.SOPInstanceUID for dataset in included.values())
    assert set(uids.values()) == {1}
    assert len({dataset.StudyInstanceUID for dataset in included.values()}) == 15


def test_uids_name_the_phantom_and_its_seed(made: Made) -> None:
    root = f"{PHANTOM_UID_ROOT}{TINY.seed}."
    keywords = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    for name, criterion in made.answers["files"].items():
        if criterion != "unreadable":
            dataset = pydicom.dcmread(made.dicom / name, stop_before_pixels=True)
            assert all(dataset[keyword].value.startswith(root) for keyword in keywords)
            assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID


@given(st.integers(0, 2**31 - 1), st.integers(1, 4000), st.integers(0, 100))
@settings(deadline=None, max_examples=50)
def test_uids_are_valid_for_every_seed(seed: int, number: int, index: int) -> None:
    rng = np.random.default_rng(0)
    scanner = sample_scanner(rng, PROTOCOL, "bone", TINY, number)
    identity = sample_identity(rng, number)
    uid = examination.Examination(seed, number, identity, scanner, "", 0.0).image_uid(2, index)
    assert UID(uid).is_valid
    assert len(uid) <= 64


def test_position_alone_orders_the_slices(made: Made) -> None:
    stacks: dict[str, list[tuple[str, pydicom.Dataset]]] = defaultdict(list)
    for name in made.answers["files"]:
        if "/IM9" in name or "report" in name or "copy" in name:
            continue
        dataset = pydicom.dcmread(made.dicom / name, stop_before_pixels=True)
        if "ImagePositionPatient" in dataset:
            stacks[dataset.SeriesInstanceUID].append((name, dataset))
    by_name, by_instance = [], []
    for stack in stacks.values():
        stack.sort(key=lambda item: -item[1].ImagePositionPatient[2])
        gaps = np.diff([dataset.ImagePositionPatient[2] for _, dataset in stack])
        assert gaps == pytest.approx(gaps[0], abs=0.01)
        names = [name for name, _ in stack]
        by_name.append(names in (sorted(names), sorted(names)[::-1]))
        numbers = [dataset.InstanceNumber for _, dataset in stack]
        by_instance.append(None not in numbers and numbers == sorted(numbers))
    assert not any(by_name)
    assert any(by_instance)
    assert not all(by_instance)


def test_boxes_name_their_images(made: Made) -> None:
    coco = made.coco
    names = {category["id"]: category["name"] for category in coco["categories"]}
    images = {image["id"]: image for image in coco["images"]}
    levels: dict[str, set[str]] = defaultdict(set)
    for box in coco["annotations"]:
        image = images[box["image_id"]]
        dataset = pydicom.dcmread(made.dicom / image["file_name"])
        assert image.get("sop_instance_uid", dataset.SOPInstanceUID) == dataset.SOPInstanceUID
        assert (image["height"], image["width"]) == (dataset.Rows, dataset.Columns)
        x, y, width, height = box["bbox"]
        assert 0 <= x < x + width <= dataset.Columns
        assert 0 <= y < y + height <= dataset.Rows
        levels[dataset.PatientID].add(names[box["category_id"]])
    assert set(names.values()) == {"L1", "L2", "L3", "L4", "T12", "L5"}
    assert levels[made.patient("L3 and L4 only")["patient_id"]] == {"L3", "L4"}
    assert levels[made.patient("only neighbours annotated")["patient_id"]] == {"T12", "L5"}
    assert made.patient("nothing annotated")["patient_id"] not in levels
    lumbar = {"L1", "L2", "L3", "L4"}
    assert {frozenset(annotated) for annotated in levels.values()} >= {
        frozenset(lumbar),
        frozenset(lumbar | {"T12", "L5"}),
    }


def value(made: Made, case: str, keyword: str) -> Any:
    name = made.names(case)[0]
    return pydicom.dcmread(made.dicom / name, stop_before_pixels=True).get(keyword)


def test_planted_headers_differ_in_one_thing(made: Made) -> None:
    assert value(made, "no position", "ImagePositionPatient") is None
    assert value(made, "pixels of no size", "PixelSpacing") == [0, 0]
    assert value(made, "no HU", "RescaleSlope") is None
    assert value(made, "contrast", "ContrastBolusAgent") == "OMNIPAQUE 350"
    tilted = value(made, "tilted gantry", "ImageOrientationPatient")
    tilt = np.degrees(np.arctan2(tilted[5], tilted[4]))
    assert tilt == pytest.approx(value(made, "tilted gantry", "GantryDetectorTilt"), abs=0.01)
    assert tilt > 5
    assert value(made, "CT without date", "StudyDate") == ""
    for keyword in ("SeriesDate", "AcquisitionDate", "ContentDate"):
        assert value(made, "CT without date", keyword) is None


def test_no_agent_is_written_in_many_ways(included: dict[str, pydicom.Dataset]) -> None:
    agents = {dataset.get("ContrastBolusAgent", "absent") for dataset in included.values()}
    assert agents == {"absent", "", "None", "NO", "N/A"}


def test_extra_files_are_as_described(made: Made) -> None:
    (cut,) = made.files("cut slice", "undecodable_pixels")
    dataset = pydicom.dcmread(cut)
    assert dataset.Rows == 128
    with pytest.raises(ValueError, match="less than expected"):
        dataset.pixel_array  # noqa: B018 - decoding is what fails
    named = {image.get("sop_instance_uid") for image in made.coco["images"]}
    assert dataset.SOPInstanceUID in named
    for case in ("byte copy", "copy that no annotation names"):
        (copy,) = made.files(case, "duplicate")
        twins = [path for path in made.files(case, "") if path.read_bytes() == copy.read_bytes()]
        assert len(twins) == 1
    (copy,) = made.files("copy that no annotation names", "duplicate")
    assert copy.name < min(path.name for path in made.files("copy that no annotation names", ""))
    text, empty, header = sorted(made.files("stray files", "unreadable"), reverse=True)
    assert text.name == "report.txt"
    assert sorted([header.stat().st_size, empty.stat().st_size]) == [0, 1000]


def test_identifiers_stand_where_tools_overlook_them(made: Made) -> None:
    with_overlay = 0
    for name, criterion in made.answers["files"].items():
        if criterion:
            continue
        dataset = pydicom.dcmread(made.dicom / name)
        surname = str(dataset.PatientName).partition("^")[0]
        (equipment,) = dataset.ContributingEquipmentSequence
        assert surname in equipment.ContributionDescription
        assert surname in dataset.PatientComments
        assert dataset.private_block(0x0009, "RIS EXPORT 2.1")
        other_id = dataset.OtherPatientIDsSequence[0].PatientID
        assert other_id.encode() in dataset.private_block(0x0029, "ARCHIVE COPY")[0x10].value
        with_overlay += (0x6000, 0x3000) in dataset and surname in dataset[0x6000, 0x0022].value
    assert with_overlay >= 8


def test_planted_identifiers_change_no_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(1, "normal", False, True, ORDINARY, PROTOCOL)
    write_patient(plan, TINY, tmp_path / "planted")
    monkeypatch.setattr(examination, "add_identifiers", lambda *_: None)
    monkeypatch.setattr(examination, "add_overlay", lambda *_: None)
    write_patient(plan, TINY, tmp_path / "plain")
    for path in (path for path in (tmp_path / "plain").rglob("*") if path.is_file()):
        planted = tmp_path / "planted" / path.relative_to(tmp_path / "plain")
        assert pydicom.dcmread(path).PixelData == pydicom.dcmread(planted).PixelData
        assert path.stat().st_size < planted.stat().st_size


def test_contact_data_have_a_generator_of_their_own() -> None:
    """What a patient's generator yields after the identity must not change."""
    rng, before = np.random.default_rng(5), np.random.default_rng(5)
    sample_identity(rng, 3)
    before.integers(2200), before.integers(50 * 366, 86 * 366), before.random()
    assert rng.random() == before.random()
