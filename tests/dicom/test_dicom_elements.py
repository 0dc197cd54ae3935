"""What is read without pydicom is what pydicom reads."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)
from support import ct_builder
from support.ct_builder import ct_slice, save

from dsnet.dicom import elements, reader
from dsnet.dicom.elements import Elements, split

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless)
ITEM, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
PIXEL_DATA = b"\xe0\x7f\x10\x00"

texts = st.text(st.characters(codec="utf-8", exclude_characters="\\\0\x1b\r\n\t\f"), max_size=12)
codes = st.builds(lambda value, meaning: {"CodeValue": value, "CodeMeaning": meaning}, texts, texts)
headers = st.fixed_dictionaries(
    {"PatientID": texts, "ImagePositionPatient": st.lists(st.integers(-300, 300), max_size=4)},
    optional={
        "SpecificCharacterSet": st.sampled_from(["ISO_IR 192", "ISO_IR 100", "", "GB18030"]),
        "PatientName": texts,
        "PatientAddress": texts,
        "StudyDate": st.sampled_from(["20200229", "2020.02.29", "20201301", ""]),
        "ContrastBolusAgent": texts,
        "NumberOfFrames": st.sampled_from(["1", "2", ""]),
        "BitsStored": st.sampled_from([8, 12, 16]),
        "PixelRepresentation": st.sampled_from([0, 1]),
        "RescaleIntercept": st.sampled_from(["-1024", "0", "-8192"]),
        "ContrastBolusAgentSequence": st.lists(codes, max_size=2),
        "RequestAttributesSequence": st.lists(
            st.fixed_dictionaries(
                {"AccessionNumber": texts, "RequestedProcedureCodeSequence": st.lists(codes)}
            ),
            max_size=2,
        ),
    },
)


def filled(dataset: Dataset, values: dict[str, object], *, undefined: bool) -> Dataset:
    """Return the dataset with values, and sequences of undefined length or not."""
    for keyword, value in values.items():
        if keyword.endswith("Sequence"):
            items = [filled(Dataset(), item, undefined=undefined) for item in value]
            for item in items:
                item.is_undefined_length_sequence_item = undefined
            setattr(dataset, keyword, Sequence(items))
            dataset[keyword].is_undefined_length = undefined
        else:
            setattr(dataset, keyword, value)
    return dataset


def read(path: Path) -> reader.Facts:
    facts = ct_builder.read(path)
    return facts._replace(identifying=tuple(sorted(facts.identifying)))  # in no order


def facts_by_pydicom(path: Path) -> reader.Facts:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "split", lambda _: None)
        return read(path)


def as_elements(path: Path) -> Elements:
    found = split(path.read_bytes())
    assert found is not None
    return found


@given(
    values=headers,
    private=st.lists(st.binary(max_size=20), max_size=3),
    encoding=st.tuples(st.sampled_from(SYNTAXES), st.booleans()),
)
@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.filterwarnings("ignore")
def test_facts_are_those_that_pydicom_reads(
    tmp_path: Path, values: dict[str, object], private: list[bytes], encoding: tuple[UID, bool]
) -> None:
    syntax, undefined = encoding
    dataset = ct_slice(np.random.default_rng(0).integers(-1024, 3071, (8, 8)))
    block = dataset.private_block(0x0009, "DSNET TEST", create=True)
    for number, content in enumerate(private):
        block.add_new(number, "UN", content + b" " * (len(content) % 2))
    if syntax.is_compressed:
        dataset.compress(syntax)
    dataset.file_meta.TransferSyntaxUID = syntax
    path = save(filled(dataset, values, undefined=undefined), tmp_path / "a")
    as_elements(path)
    assert repr(read(path)) == repr(facts_by_pydicom(path))


@given(
    series=st.lists(headers, min_size=1, max_size=3),
    order=st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=12),
    implicit=st.booleans(),
)
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.filterwarnings("ignore")
def test_what_files_before_had_decides_nothing(
    tmp_path: Path,
    series: list[dict[str, object]],
    order: list[tuple[int, bool]],
    implicit: bool,
) -> None:
    read_before, expected = [], []
    for number, (which, undefined) in enumerate(order):
        dataset = ct_slice(InstanceNumber=str(number))
        dataset.file_meta.TransferSyntaxUID = SYNTAXES[implicit]
        values = series[which % len(series)]
        path = save(filled(dataset, values, undefined=undefined), tmp_path / f"{number}")
        read_before.append(repr(read(path)))
        expected.append(repr(facts_by_pydicom(path)))
    assert read_before == expected


def test_elements_that_slices_share_are_split_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elements, "_KNOWN", {False: elements._Known()})
    found = [
        as_elements(save(ct_slice(InstanceNumber=str(number)), tmp_path / "a"))
        for number in range(4)
    ]
    assert found[0].runs == ()
    assert [f"{tag:08x}" for tag in found[3].alone] == ["00080018", "00200013", "7fe00010"]
    assert found[2].runs == found[3].runs


@pytest.mark.parametrize("bits_stored", [10, 12, 15, 16])
@pytest.mark.parametrize("signed", [0, 1])
def test_unused_bits_that_are_set_do_not_count(
    tmp_path: Path, bits_stored: int, signed: int
) -> None:
    dataset = ct_slice(BitsStored=bits_stored, HighBit=bits_stored - 1, PixelRepresentation=signed)
    dataset.PixelData = np.random.default_rng(0).bytes(len(dataset.PixelData))
    path = save(dataset, tmp_path / "a")
    as_elements(path)
    assert read(path) == facts_by_pydicom(path)


def test_pixels_are_not_copied(tmp_path: Path) -> None:
    dataset = ct_slice(np.zeros((200, 200)))
    content = save(dataset, tmp_path / "a").read_bytes()
    found = split(content)
    assert found is not None
    pixels = found.pixel_bytes()
    assert pixels is not None
    assert pixels.obj is content


def changed(content: bytes, before: bytes, insertion: bytes, removed: int = 0) -> bytes:
    at = content.index(before)
    return content[:at] + insertion + content[at + removed :]


def undefined_sequence(inner: bytes, length: int) -> bytes:
    item = ITEM + struct.pack("<I", length) + inner
    return b"\x40\x00\x75\x02SQ\0\0" + b"\xff" * 4 + item + SEQUENCE_END + bytes(4)


@pytest.mark.parametrize(
    "unusual",
    [
        lambda content: content[132:],
        lambda content: content + bytes(4),
        lambda content: content[:-2],
        lambda content: changed(content, PIXEL_DATA, b"\x10\x00\x10\x00PN\x02\x00ab"),
        lambda content: changed(content, PIXEL_DATA, b"\x29\x00\x10\x10XX\x02\x00ab"),
        lambda content: changed(content, PIXEL_DATA, b"\x29\x00\x10\x10UN\0\0" + b"\xff" * 4),
        lambda content: changed(content, PIXEL_DATA, undefined_sequence(b"ab", 4)),
        lambda content: changed(
            content, PIXEL_DATA, undefined_sequence(b"\x08\x00\x50\x00SH\x09\x00ab", 10)
        ),
    ],
    ids=[
        "no preamble", "bytes behind the last element", "cut", "a tag out of order", "unknown VR",
        "undefined length without items", "an item that leads out of its sequence",
        "an element that leads out of its item",
    ],
)  # fmt: skip
def test_the_unusual_is_left_to_pydicom(tmp_path: Path, unusual: object) -> None:
    content = unusual(save(ct_slice(), tmp_path / "a").read_bytes())
    assert split(content) is None


@pytest.mark.parametrize("syntax", SYNTAXES[:2])
def test_large_sequences_are_not_remembered(tmp_path: Path, syntax: UID) -> None:
    codes = [{"CodeValue": str(number), "CodeMeaning": "many"} for number in range(5000)]
    dataset = filled(ct_slice(), {"ProcedureCodeSequence": codes}, undefined=False)
    dataset.file_meta.TransferSyntaxUID = syntax
    path = save(dataset, tmp_path / "a")
    remembered = elements._read_once.cache_info().currsize
    as_elements(path)
    assert read(path) == facts_by_pydicom(path)
    many = elements._read_once.cache_info().currsize - remembered
    assert many < 200  # elements of the header, none of them the sequence
    dataset["ProcedureCodeSequence"].is_undefined_length = True
    assert split(save(dataset, tmp_path / "b").read_bytes()) is None


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_rare_syntaxes_are_left_to_pydicom(tmp_path: Path, syntax: UID) -> None:
    dataset = ct_slice()
    dataset.file_meta.TransferSyntaxUID = syntax
    assert split(save(dataset, tmp_path / "a").read_bytes()) is None


def test_implicit_elements_with_a_vr_are_left_to_pydicom(tmp_path: Path) -> None:
    content = save(ct_slice(), tmp_path / "a").read_bytes()
    explicit, implicit = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0"
    assert split(content.replace(explicit, implicit)) is None


def test_an_element_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converted = []
    original = elements.read_dataset

    def counted(stream: io.BytesIO, *arguments: bool) -> Dataset:
        converted.append(stream.getvalue())
        return original(stream, *arguments)

    monkeypatch.setattr(elements, "read_dataset", counted)
    paths = [save(ct_slice(PatientID=f"unique {n}"), tmp_path / f"{n}") for n in range(3)]
    for path in paths:
        read(path)
    first = len(converted)
    again = save(ct_slice(PatientID="unique 0", InstanceNumber="7"), tmp_path / "again")
    read(again)
    assert len(converted) - first <= 3  # the SOP instance UIDs of header and file meta information
