import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders import JPEG2000LosslessDecoder, RLELosslessDecoder
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)
from support.ct_builder import THRESHOLDS, ct_slice

from dsnet.dicom import header
from dsnet.dicom.evidence import Evidence, Thresholds, examine, measure
from dsnet.dicom.pixels import Frame, PixelError, codestream_size


def evidence(dataset: Dataset) -> Evidence:
    return examine(dataset, header.read(dataset), THRESHOLDS)


def fault(dataset: Dataset) -> str:
    with pytest.raises(PixelError) as caught:
        evidence(dataset)
    return caught.value.fault


def with_stored(stored: np.ndarray, bits: int = 16, **elements: object) -> Dataset:
    return ct_slice(
        PixelData=stored.tobytes(),
        BitsAllocated=8 * stored.dtype.itemsize,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(stored.dtype.kind == "i"),
        Rows=stored.shape[0],
        Columns=stored.shape[1],
        **elements,
    )


def components(mask: np.ndarray) -> list[int]:
    """Return the sizes of the 8-connected components, by a flood fill."""
    left = {tuple(index) for index in np.argwhere(mask)}
    sizes = []
    while left:
        front, size = [left.pop()], 0
        while front:
            row, column = front.pop()
            size += 1
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            front += near
        sizes.append(size)
    return sizes


@given(arrays(np.int64, (9, 11), elements=st.sampled_from([-1000, 40, 1499, 1500, 2500, 3071])))
@settings(deadline=None, max_examples=50)
def test_evidence_against_a_flood_fill(hu: np.ndarray) -> None:
    measured = evidence(ct_slice(hu))
    assert (measured.hu_min, measured.hu_max) == (hu.min(), hu.max())
    assert measured.saturated_voxels == (hu >= 3071).sum()
    assert measured.metal_area_mm2 == max(components(hu >= 2500), default=0) * 0.5 * 2.0
    assert measured.dense_area_mm2 == max(components(hu >= 1500), default=0) * 0.5 * 2.0
    assert measured.metal_fraction == pytest.approx((hu >= 2500).mean())


@pytest.mark.parametrize("slope", [0.5, 0.1, 2.0])
def test_thresholds_are_met_exactly_on_any_scale(slope: float) -> None:
    stored = np.array([[0, round(2500 / slope) - 1], [round(2500 / slope)] * 2], np.uint16)
    measured = evidence(with_stored(stored, RescaleSlope=slope, RescaleIntercept=0))
    assert measured.metal_fraction == 0.5


def test_metal_of_unknown_size_has_no_area() -> None:
    hu = np.full((4, 4), 40)
    hu[1, 1] = 3000
    assert math.isnan(evidence(ct_slice(hu, PixelSpacing=None)).metal_area_mm2)
    assert evidence(ct_slice(PixelSpacing=None)).metal_area_mm2 == 0


@pytest.mark.parametrize("padding_bytes", [b"\x30\xf8"])
@pytest.mark.parametrize("vr", ["US", "SS"])
def test_declared_padding_is_left_out(padding_bytes: bytes, vr: str) -> None:
    stored = np.full((4, 4), 40, np.int16)
    stored[0, 1:] = -2000
    dataset = with_stored(stored, RescaleIntercept=0)
    assert evidence(dataset).hu_min == -2000
    dataset[0x00280120] = _raw(0x00280120, vr, padding_bytes)
    assert evidence(dataset).hu_min == 40


def test_a_padding_range_is_left_out_at_both_ends() -> None:
    stored = np.array([[0, 1, 2, 3000], [5, 6, 7, 3000]], np.uint16)
    dataset = with_stored(stored)
    dataset[0x00280120] = _raw(0x00280120, "US", (2).to_bytes(2, "little"))
    dataset[0x00280121] = _raw(0x00280121, "US", (0).to_bytes(2, "little"))
    assert evidence(dataset).hu_min == 5 - 1024
    dataset[0x00280120] = _raw(0x00280120, "US", (3000).to_bytes(2, "little"))
    del dataset[0x00280121]
    assert evidence(dataset).hu_max == 7 - 1024


def test_undeclared_fill_is_known_by_the_corner() -> None:
    stored = np.full((4, 4), 1000, np.int16)
    stored[0, 0] = stored[3, 3] = -2000
    assert evidence(with_stored(stored)).hu_min == -24
    stored[0, 0] = 1000
    assert evidence(with_stored(stored)).hu_min == -3024


@given(
    stored=st.sampled_from([np.int16, np.uint16, np.int32]).flatmap(
        lambda dtype: arrays(dtype, (4, 4), elements=st.integers(0, 9)).map(
            lambda small: small if dtype == np.uint16 else small - 5
        )
    ),
    offset=st.sampled_from([0, 20000]),
    padding=st.none() | st.tuples(st.integers(-7, 11), st.integers(0, 4)),
    intercept=st.sampled_from([-1024.0, -1027.0, -21026.0, 0.0]),
)
def test_padding_counts_nowhere(
    stored: np.ndarray, offset: int, padding: tuple[int, int] | None, intercept: float
) -> None:
    stored = stored + stored.dtype.type(offset)
    facts = header.BLANK._replace(
        slope=1.0, intercept=intercept, row_spacing_mm=1.0, column_spacing_mm=1.0
    )
    declared = padding and (padding[0] + offset, sum(padding) + offset)
    hu, corner = stored + intercept, int(stored[0, 0])
    is_padding = (stored == corner) & (corner + intercept < -1024)
    if declared:
        is_padding |= (stored >= declared[0]) & (stored <= declared[1])
    thresholds = Thresholds(metal_hu=intercept + offset + 2, cement_hu=intercept + offset - 1)
    measured = measure(Frame.of(stored), facts, declared, thresholds)
    tissue = hu[~is_padding]
    if not tissue.size:
        assert math.isnan(measured.hu_min)
        return
    assert (measured.hu_min, measured.hu_max) == (tissue.min(), tissue.max())
    metal = (hu >= thresholds.metal_hu) & ~is_padding
    dense = (hu >= thresholds.cement_hu) & ~is_padding
    assert measured.metal_fraction == metal.mean()
    assert measured.metal_area_mm2 == max(components(metal), default=0)
    assert measured.dense_area_mm2 == max(components(dense), default=0)


def test_nothing_but_padding() -> None:
    measured = evidence(with_stored(np.full((4, 4), -2000, np.int16)))
    assert math.isnan(measured.hu_min)
    assert measured.saturated_voxels == 0


@given(arrays(np.int64, (32, 40), elements=st.integers(-1024, 3071)))
@settings(deadline=None, max_examples=10)
def test_a_hash_is_that_of_the_image_not_of_its_file(hu: np.ndarray) -> None:
    plain = evidence(ct_slice(hu))
    signed = with_stored((hu + 1024).astype(np.int16))
    assert evidence(signed) == plain
    wide = with_stored((hu + 1024).astype(np.uint32), bits=32)
    assert evidence(wide) == plain
    for syntax in (RLELossless, JPEG2000Lossless):
        compressed = ct_slice(hu)
        compressed.compress(syntax, generate_instance_uid=False)
        assert evidence(compressed) == plain


def test_a_hash_tells_pixels_shape_and_scale() -> None:
    hu = np.arange(64).reshape(8, 8)
    hashes = {
        evidence(dataset).pixel_hash
        for dataset in (
            ct_slice(hu),
            ct_slice(hu + 1),
            ct_slice(hu.reshape(4, 16)),
            ct_slice(hu, RescaleIntercept=-1000),
            ct_slice(hu, RescaleSlope=None, RescaleIntercept=None),
        )
    }
    assert len(hashes) == 5
    assert all(len(pixel_hash) == 32 for pixel_hash in hashes)


def test_unused_bits_are_no_pixels() -> None:
    stored = np.full((4, 4), 1064, np.uint16)
    stored[1, 1] |= 0xF000
    assert evidence(with_stored(stored, bits=12)).hu_max == 40


def test_without_hu_there_is_a_hash_and_nothing_else() -> None:
    for dataset in (
        ct_slice(RescaleSlope=None),
        ct_slice(RescaleType="US"),
        ct_slice(NumberOfFrames=2, PixelData=bytes(2 * 512)),
    ):
        measured = evidence(dataset)
        assert len(measured.pixel_hash) == 32
        assert measured.saturated_voxels is None
        assert math.isnan(measured.hu_max)
        assert math.isnan(measured.metal_area_mm2)


def test_colour_has_no_evidence() -> None:
    dataset = ct_slice(PixelData=bytes(3 * 256), SamplesPerPixel=3, PlanarConfiguration=0)
    dataset.PhotometricInterpretation, dataset.BitsAllocated = "RGB", 8
    dataset.BitsStored, dataset.HighBit = 8, 7
    assert evidence(dataset).saturated_voxels is None


def test_faults() -> None:
    assert fault(ct_slice(PixelData=None)) == "no_pixels"
    assert fault(ct_slice(PixelData=bytes(510))) == "cut_pixels"
    assert fault(ct_slice(PixelData=b"")) == "cut_pixels"
    assert fault(ct_slice(PhotometricInterpretation=None)) == "decode_error"
    assert fault(ct_slice(Rows=None)) == "decode_error"
    unknown = ct_slice()
    unknown.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    assert fault(unknown) == "no_decoder"


def test_64_bits_are_read_as_far_as_a_sign_leaves_them() -> None:
    least, most = (1 << 63) - 1, 1 << 63
    stored = np.full((4, 4), least, np.uint64)
    assert len(evidence(with_stored(stored, bits=64)).pixel_hash) == 32
    stored[0, 0] = most
    assert fault(with_stored(stored, bits=64)) == "decode_error"


def test_uncompressed_colour_at_half_the_resolution_is_whole() -> None:
    dataset = ct_slice(PixelData=bytes(2 * 256), SamplesPerPixel=3, PlanarConfiguration=0)
    dataset.PhotometricInterpretation, dataset.BitsAllocated = "YBR_FULL_422", 8
    dataset.BitsStored, dataset.HighBit = 8, 7
    assert len(evidence(dataset).pixel_hash) == 32
    dataset.PixelData = bytes(2 * 256 - 2)
    assert fault(dataset) == "cut_pixels"


def test_a_frame_that_is_too_large_is_not_decoded() -> None:
    compressed = ct_slice(np.zeros((32, 32), int))
    compressed.compress(RLELossless)
    for dataset in (compressed, ct_slice(np.zeros((32, 32), int))):
        examine(dataset, header.read(dataset), THRESHOLDS, 32 * 32 * 2)
        with pytest.raises(PixelError, match="too_large"):
            examine(dataset, header.read(dataset), THRESHOLDS, 32 * 32 * 2 - 1)
    assert fault(ct_slice(Rows=60000, Columns=60000)) == "cut_pixels"


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_compressed_image_that_states_another_size_is_not_decoded(
    monkeypatch: pytest.MonkeyPatch, syntax: UID
) -> None:
    dataset = ct_slice(np.zeros((32, 40), int))
    dataset.compress(syntax)
    (content,) = generate_frames(dataset.PixelData, number_of_frames=1)
    assert codestream_size(content) == (32, 40)
    assert len(evidence(dataset).pixel_hash) == 32
    dataset.Rows, dataset.Columns = 40, 32
    monkeypatch.setattr(get_decoder(syntax), "iter_array", lambda *_, **__: pytest.fail("decoded"))
    assert fault(dataset) == "decode_error"


def test_the_size_that_a_jpeg_states() -> None:
    application = b"\xff\xe0\x00\x04\x00\x00"
    tables = b"\xff\xc4\x00\x05\x00\x00\x00"
    frame = b"\xff\xc1\x00\x0b\x0c\x75\x30\x00\x07\x01\x01\x11\x00"
    assert codestream_size(b"\xff\xd8" + application + tables + frame) == (30000, 7)
    assert codestream_size(b"\xff\xd8" + frame.replace(b"\x75\x30", b"\x00\x00")) is None
    for unknown in (b"", b"\xff\xd8", b"\xff\xd8" + application, b"\xff\x4f\xff\x51", bytes(99)):
        assert codestream_size(unknown) is None


def test_a_decoder_without_memory_says_nothing_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = ct_slice(np.zeros((32, 32), int))
    dataset.compress(RLELossless)

    def fail(*_: object) -> None:
        raise MemoryError("std::bad_alloc")

    monkeypatch.setattr(RLELosslessDecoder, "_available", {"pylibjpeg": fail})
    assert fault(dataset) == "memory_limit"


def test_a_decoder_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = ct_slice(np.zeros((32, 32), int))
    dataset.compress(JPEG2000Lossless)
    monkeypatch.setattr(JPEG2000LosslessDecoder, "_available", {})
    assert fault(dataset) == "no_decoder"


def test_a_panic_is_a_fault_and_an_interruption_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    dataset = ct_slice(np.zeros((32, 32), int))
    dataset.compress(RLELossless)

    def raising(error: BaseException) -> Callable[..., None]:
        def decode(*_: object, **__: object) -> None:
            raise error

        return decode

    monkeypatch.setattr(RLELosslessDecoder, "iter_array", raising(panic("index out of bounds")))
    assert fault(dataset) == "decode_error"
    monkeypatch.setattr(RLELosslessDecoder, "iter_array", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        evidence(dataset)


def test_a_damaged_stream() -> None:
    dataset = ct_slice(np.arange(256).reshape(16, 16))
    dataset.compress(RLELossless)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    assert fault(dataset) == "decode_error"


def test_syntaxes_that_need_no_decoder_are_all_read() -> None:
    for syntax in (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        dataset = ct_slice()
        dataset.file_meta.TransferSyntaxUID = syntax
        assert evidence(dataset) == evidence(ct_slice())


def _raw(tag: int, vr: str, value: bytes) -> object:
    return RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
