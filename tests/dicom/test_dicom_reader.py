import errno
import io
import logging
import struct
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MediaStorageDirectoryStorage,
    RLELossless,
    generate_uid,
)
from support.ct_builder import THRESHOLDS, ct_slice, read, save

from dsnet.dicom import evidence, header, reader
from dsnet.dicom.identifying import DAMAGED
from dsnet.dicom.reader import UNLIMITED

HU = np.random.default_rng(0).integers(-1024, 1400, (32, 32))
ITEM, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
ITEM_END = b"\xfe\xff\x0d\xe0"
SEQUENCE = b"\x40\x00\x75\x02SQ\x00\x00"
"""RequestAttributesSequence (0040,0275), which stands between Rows and the pixels."""


def in_syntax(syntax: str) -> Dataset:
    dataset = ct_slice(HU)
    if syntax.is_compressed and syntax != DeflatedExplicitVRLittleEndian:
        dataset.compress(syntax)
    elif syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless,
    ],
)  # fmt: skip
def test_the_same_image_in_every_syntax(tmp_path: Path, syntax: str) -> None:
    facts = read(save(in_syntax(syntax), tmp_path / "a"))
    plain = read(save(ct_slice(HU), tmp_path / "b"))
    assert facts.fault == ""
    assert facts.header is not None
    assert facts.header.transfer_syntax == syntax.name
    assert facts.evidence == plain.evidence


def test_implicit_padding_has_no_vr_and_is_left_out(tmp_path: Path) -> None:
    stored = np.full((4, 4), 40, "<i2")
    stored[0, 1] = -2000
    dataset = ct_slice(
        Rows=4, Columns=4, PixelData=stored.tobytes(), PixelRepresentation=1, BitsStored=16,
        HighBit=15, RescaleIntercept=0,
    )  # fmt: skip
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    facts = read(save(dataset, tmp_path / "a"))
    assert facts.evidence is not None
    assert facts.evidence.hu_min == 40


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty_file"),
        (b"see the other disk\n", "not_dicom"),
        (b"\x08\x00 looks like a group", "not_dicom"),
        (bytes(200), "not_dicom"),
        (bytes(128) + b"DICM", "cut_header"),
        (bytes(128) + b"DICM" + bytes(range(256)), "cut_header"),
    ],
)
def test_files_that_are_no_dicom(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "Thornabee"
    path.write_bytes(content)
    facts = read(path)
    assert (facts.fault, facts.header, facts.evidence) == (fault, None, None)


def test_every_cut_has_its_fault(tmp_path: Path) -> None:
    whole = save(ct_slice(), tmp_path / "whole").read_bytes()
    pixels_at = len(whole) - 512
    faults = []
    for length in range(140, len(whole), 7):
        path = tmp_path / "cut"
        path.write_bytes(whole[:length])
        facts = read(path)
        faults.append((length, facts.fault))
        assert (facts.header is None) == (facts.fault == "cut_header")
        assert facts.evidence is None
    assert {fault for length, fault in faults if length > pixels_at} == {"cut_pixels"}
    assert faults[0][1] == "cut_header"
    assert {fault for _, fault in faults} == {"cut_header", "no_pixels", "cut_pixels"}


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("missing", [8, 40, 300])
def test_cut_compressed_pixels_keep_their_header(tmp_path: Path, syntax: str, missing: int) -> None:
    path = save(in_syntax(syntax), tmp_path / "a")
    path.write_bytes(path.read_bytes()[:-missing])
    facts = read(path)
    assert facts.fault in ("cut_pixels", "decode_error")
    assert facts.header is not None
    assert facts.header.patient_id == "000123"


def test_a_damaged_codestream(tmp_path: Path) -> None:
    dataset = in_syntax(JPEG2000Lossless)
    path = save(dataset, tmp_path / "a")
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\x4f\xff\x51")
    content[start : start + 60] = bytes(60)
    path.write_bytes(content)
    assert read(path).fault == "decode_error"


def test_a_cut_deflated_file_has_no_header(tmp_path: Path) -> None:
    path = save(in_syntax(DeflatedExplicitVRLittleEndian), tmp_path / "a")
    path.write_bytes(path.read_bytes()[:-30])
    assert read(path).fault == "cut_header"


def test_a_file_cut_in_a_sequence(tmp_path: Path) -> None:
    item = Dataset()
    item.CodeMeaning = "Iopamidol"
    dataset = ct_slice(ContrastBolusAgentSequence=[item])
    dataset["ContrastBolusAgentSequence"].is_undefined_length = True
    path = save(dataset, tmp_path / "a")
    content = path.read_bytes()
    for kept in range(1, 9):
        path.write_bytes(content[: content.index(b"Iopamidol") - kept])
        assert read(path).fault == "cut_header"


def test_a_header_without_pixels(tmp_path: Path) -> None:
    facts = read(save(ct_slice(PixelData=None), tmp_path / "a"))
    assert facts.fault == "no_pixels"
    assert facts.header is not None
    report = ct_slice(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.67", PixelData=None, Rows=None)
    facts = read(save(report, tmp_path / "b"))
    assert facts.fault == "no_pixels"
    assert facts.header is not None
    assert facts.header.sop_class == "X-Ray Radiation Dose SR Storage"


def test_a_dataset_without_preamble_counts_if_it_names_its_class(tmp_path: Path) -> None:
    for name, sop_class, fault in (
        ("a", generate_uid(), ""),
        ("b", None, "not_dicom"),
    ):
        dataset = ct_slice(SOPClassUID=sop_class)
        del dataset.file_meta
        stream = io.BytesIO()
        dcmwrite(stream, dataset, implicit_vr=True, little_endian=True)
        (tmp_path / name).write_bytes(stream.getvalue())
        assert read(tmp_path / name).fault == fault


def test_a_file_that_names_no_syntax_is_read_as_pydicom_guesses(tmp_path: Path) -> None:
    dataset = ct_slice(HU)
    dataset.file_meta = FileMetaDataset()
    path = tmp_path / "a"
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    facts = read(path)
    assert facts.fault == ""
    assert facts.header is not None
    assert facts.header.transfer_syntax == ""


def test_a_dicomdir_is_no_image_of_a_patient(tmp_path: Path) -> None:
    record = Dataset()
    record.DirectoryRecordType, record.PatientID = "PATIENT", "000123"
    medium = Dataset()
    medium.file_meta = FileMetaDataset()
    medium.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    medium.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    medium.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    medium.FileSetID, medium.DirectoryRecordSequence = "DISK1", [record]
    medium.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    assert read(tmp_path / "DICOMDIR").fault == "not_dicom"


@pytest.mark.parametrize(
    ("error", "fault"),
    [(PermissionError(13, "no"), "no_permission"), (OSError(5, "I/O error"), "io_error")],
)
def test_what_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, fault: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("builtins.open", refuse)
    assert reader.read(str(tmp_path / "a"), THRESHOLDS).fault == fault


def test_a_broken_link_cannot_be_read(tmp_path: Path) -> None:
    assert read(tmp_path / "nowhere").fault == "io_error"


def test_header_only(tmp_path: Path) -> None:
    facts = reader.read(str(save(ct_slice(), tmp_path / "a")), THRESHOLDS, decode=False)
    assert facts.fault == "decode_error"
    assert facts.header is not None


def test_reading_is_silent_whatever_a_header_says(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    dataset = ct_slice()
    for keyword, raw in {
        "PatientID": b"Thornabee\xff" * 9,
        "SliceThickness": b"Thornabee ",
    }.items():
        tag = Tag(keyword)
        dataset[tag] = RawDataElement(tag, dataset[tag].VR, len(raw), raw, 0, False, True)
    with warnings.catch_warnings(action="ignore"):
        path = save(dataset, tmp_path / "a")
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        facts = read(path)
    assert facts.fault == ""
    assert caught == []
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


@given(
    start=st.sampled_from([0, 128, 400, 700]),
    scribble=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=6),
    kept=st.floats(0, 1),
    syntax=st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless]),
)
@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_damage_is_too_much(
    tmp_path: Path, start: int, scribble: list[tuple[int, int]], kept: float, syntax: str
) -> None:
    path = save(in_syntax(syntax), tmp_path / "a")
    content = bytearray(path.read_bytes())
    for offset, byte in scribble:
        content[start + offset] = byte
    path.write_bytes(content[: int(kept * len(content)) if kept > 0.5 else None])
    facts = read(path)
    assert (facts.fault == "") == (facts.evidence is not None)
    assert facts.evidence is None or facts.header is not None


def damaged(path: Path, insertion: bytes, before: bytes = b"\xe0\x7f\x10\x00") -> Path:
    """Write a good slice with bytes inserted before an element, by default before its pixels."""
    content = save(ct_slice(HU), path).read_bytes()
    at = content.index(before) if before else len(content)
    path.write_bytes(content[:at] + insertion + content[at:])
    return path


def nested(depth: int, *, undefined: bool) -> bytes:
    content = b""
    for _ in range(depth):
        if undefined:
            content = ITEM + b"\xff" * 4 + content + ITEM_END + bytes(4) + SEQUENCE_END + bytes(4)
            content = SEQUENCE + b"\xff" * 4 + content
        else:
            item = ITEM + struct.pack("<I", len(content)) + content
            content = SEQUENCE + struct.pack("<I", len(item)) + item
    return content


@pytest.mark.parametrize(
    ("insertion", "before"),
    [
        (SEQUENCE_END + bytes(4), b""),
        (SEQUENCE_END + bytes(4), b"\xe0\x7f\x10\x00"),
        (ITEM + b"\x04\x00\x00\x00abcd", b"\xe0\x7f\x10\x00"),
        (b"\x29\x00\x10\x10XX\x02\x00ab", b"\xe0\x7f\x10\x00"),
        (b"\x10\x00\x10\x00ZZ\x04\x00ab c", b"\x18\x00\x50\x00"),
        (SEQUENCE + b"\x02\x00\x00\x00ab", b"\xe0\x7f\x10\x00"),
        (nested(1000, undefined=True), b"\xe0\x7f\x10\x00"),
        (nested(1000, undefined=False), b"\xe0\x7f\x10\x00"),
    ],
    ids=[
        "end of a sequence at the end", "end of a sequence", "item", "unknown VR",
        "unknown VR of an identifying element", "sequence of two bytes",
        "sequences 1000 deep", "sequences 1000 deep with lengths",
    ],
)  # fmt: skip
def test_an_odd_element_costs_neither_header_nor_pixels(
    tmp_path: Path, insertion: bytes, before: bytes
) -> None:
    facts = read(damaged(tmp_path / "a", insertion, before))
    whole = read(save(ct_slice(HU), tmp_path / "b"))
    assert (facts.fault, facts.evidence) == ("", whole.evidence)
    assert facts.header is not None
    assert whole.header is not None
    sop_instance_uid = whole.header.sop_instance_uid
    assert facts.header._replace(sop_instance_uid=sop_instance_uid) == whole.header


def test_a_damaged_sequence_is_searched_as_bytes(tmp_path: Path) -> None:
    content = b"ab\x01Thornabee^Greta\x02\x03"
    insertion = SEQUENCE + struct.pack("<I", len(content)) + content
    facts = read(damaged(tmp_path / "a", insertion))
    assert ("Thornabee^Greta", DAMAGED) in {(one.text, one.kind) for one in facts.identifying}
    deep = b"\x10\x00\x10\x00PN\x0a\x00Yarrow^Ida"
    for _ in range(30):
        item = ITEM + struct.pack("<I", len(deep)) + deep
        deep = SEQUENCE + struct.pack("<I", len(item)) + item
    facts = read(damaged(tmp_path / "b", deep))
    assert "Yarrow^Ida" in {one.text for one in facts.identifying}


def test_a_map_of_floating_point_numbers_has_no_pixels(tmp_path: Path) -> None:
    values = np.zeros((16, 16), "<f4").tobytes()
    dataset = ct_slice(PixelData=None, FloatPixelData=values, BitsAllocated=32)
    facts = read(save(dataset, tmp_path / "a"))
    assert facts.fault == "no_pixels"
    assert "Thornabee^Greta" in {one.text for one in facts.identifying}


def test_numbers_that_no_table_can_hold_are_blank(tmp_path: Path) -> None:
    path = save(ct_slice(HU), tmp_path / "a")
    content = path.read_bytes()
    rows = content.index(b"\x28\x00\x10\x00US")
    huge = content[:rows] + b"\x28\x00\x10\x00DS\x06\x001e300 " + content[rows + 10 :]
    path.write_bytes(huge.replace(b"\\7.0 ", b"\\9e99"))
    facts = read(path)
    assert facts.fault == "decode_error"
    assert facts.header is not None
    assert facts.header.rows is None
    assert facts.header.geometry_fault == "no_position"


def test_a_deflated_bomb_is_not_inflated(tmp_path: Path) -> None:
    path = save(in_syntax(DeflatedExplicitVRLittleEndian), tmp_path / "a")
    assert read(path).fault == ""
    size = len(save(ct_slice(HU), tmp_path / "b").read_bytes())
    for most_bytes, fault in ((size, ""), (size // 2, "too_large")):
        limits = replace(UNLIMITED, decoded_bytes=most_bytes)
        assert reader.read(str(path), THRESHOLDS, limits).fault == fault
    content = path.read_bytes()
    begin = content.index(DeflatedExplicitVRLittleEndian.encode()) + 22
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
    path.write_bytes(content[:begin] + bomb)
    limits = replace(UNLIMITED, decoded_bytes=1 << 20)
    assert reader.read(str(path), THRESHOLDS, limits).fault == "too_large"


def test_a_file_larger_than_the_memory_allowed_keeps_its_header(tmp_path: Path) -> None:
    path = save(ct_slice(HU), tmp_path / "a")
    limits = replace(UNLIMITED, memory_bytes=1000)
    facts = reader.read(str(path), THRESHOLDS, limits)
    assert facts.fault == "too_large"
    assert facts.header is not None
    assert facts.header.patient_id == "000123"


def test_an_exception_that_nobody_foresaw_is_the_row_of_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("Thornabee")

    path = save(ct_slice(HU), tmp_path / "a")
    monkeypatch.setattr(evidence, "padding_range", fail)
    facts = read(path)
    assert (facts.fault, facts.fault_class) == ("unexpected_content", "ZeroDivisionError")
    assert facts.fault_frame.startswith("dicom/evidence.py:")
    assert facts.fault_frame.endswith(" examine")
    assert facts.header is not None
    assert facts.identifying
    assert facts.evidence is None
    monkeypatch.setattr(header, "read", fail)
    facts = read(path)
    assert facts.fault_frame.endswith(" _read")
    assert facts.header is None
    assert "Thornabee" not in repr(facts)


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EMFILE])
def test_a_fault_of_the_machine_is_none_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = str(save(ct_slice(HU), tmp_path / "a"))
    for error in (OSError(number, "no"), MemoryError()):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(evidence, "measure", fail)
        with pytest.raises(type(error)):
            reader.read(path, THRESHOLDS)
        assert reader.is_of_machine(error)
    assert not reader.is_of_machine(OSError(errno.EIO, "no"))


def test_version_is_that_of_the_code() -> None:
    assert len(reader.version()) == 16
    assert reader.version() == reader.version()
