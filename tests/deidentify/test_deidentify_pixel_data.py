import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    MPEG2MPML,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from dsnet.deidentify.pixel_data import StreamError, cut, cut_jpeg, cut_jpeg2000

NAME = b"Thornabee^Greta"
HU = np.random.default_rng(0).normal(60, 300, (48, 40)).clip(-1024, 3071).astype("<i2") + 1024


def slice_(pixel_data: bytes, syntax: UID, *, bits: int = 16) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.Rows, dataset.Columns = HU.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.PixelData = pixel_data
    dataset["PixelData"].VR = "OW" if not syntax.is_encapsulated else "OB"
    return dataset


def compressed(syntax: UID) -> tuple[Dataset, bytes]:
    """Return a slice as pydicom's encoders compress it, and its one frame."""
    dataset = slice_(HU.astype("<u2").tobytes(), ExplicitVRLittleEndian)
    dataset.compress(syntax, generate_instance_uid=False)
    return dataset, next(generate_frames(dataset.PixelData, number_of_frames=1))


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.fromarray((HU >> 4).astype("u1")).save(stream, "JPEG", comment=NAME)
    return stream.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">HH", marker, len(body) + 2) + body


def checked(dataset: Dataset) -> Dataset:
    """Cut the pixel data; the image must stay as it is and the name must go."""
    before = dataset.pixel_array.copy()
    assert NAME in dataset.PixelData
    cut(dataset, dataset.file_meta.TransferSyntaxUID)
    assert NAME not in dataset.PixelData
    again = slice_(
        dataset.PixelData, dataset.file_meta.TransferSyntaxUID, bits=dataset.BitsAllocated
    )
    assert np.array_equal(again.pixel_array, before)
    return dataset


@pytest.mark.filterwarnings("ignore:The pixel data is")
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_bytes_after_the_image_go(syntax: UID) -> None:
    kind = "<u2" if syntax == ExplicitVRLittleEndian else ">u2"
    dataset = slice_(HU.astype(kind).tobytes() + NAME + b"\0", syntax)
    assert len(checked(dataset).PixelData) == HU.size * 2


def test_too_few_bytes_are_an_error() -> None:
    with pytest.raises(StreamError, match="too few"):
        cut(slice_(bytes(HU.size * 2 - 2), ExplicitVRLittleEndian), ExplicitVRLittleEndian)


def test_comments_and_application_segments_of_jpeg_go() -> None:
    stream = jpeg()
    stream = stream[:2] + segment(0xFFE1, b"Exif\0\0" + NAME) + stream[2:] + NAME
    dataset = checked(slice_(encapsulate([stream]), JPEGBaseline8Bit, bits=8))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    assert frame.rstrip(b"\0").endswith(b"\xff\xd9")
    assert not any(bytes((0xFF, code)) in frame[:40] for code in (*range(0xE0, 0xF0), 0xFE))


def test_fill_bytes_and_a_comment_between_scans() -> None:
    stream = jpeg()
    end = stream.rindex(b"\xff\xd9")
    spliced = stream[:end] + b"\xff" + segment(0xFFFE, NAME) + b"\xff\xff\xd9"
    checked(slice_(encapsulate([spliced]), JPEGBaseline8Bit, bits=8))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda stream: b"no" + stream,
        lambda stream: stream[: len(stream) // 2],
        lambda stream: stream[:3],
        lambda stream: stream[:2] + b"\xff\xfe\xff\xff" + stream[2:],
        lambda stream: stream[:2] + b"Thornabee" + stream[2:],
    ],
)
def test_damaged_jpeg_is_an_error(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(StreamError):
        cut_jpeg(spoil(jpeg()))


def test_segments_and_trailing_bytes_of_jpeg_ls_go() -> None:
    pytest.importorskip("jpeg_ls")
    _, frame = compressed(JPEGLSLossless)
    spliced = frame[:2] + segment(0xFFE8, b"mrfx" + NAME) + segment(0xFFFE, NAME) + frame[2:]
    checked(slice_(encapsulate([spliced + NAME]), JPEGLSLossless))


def test_comments_and_trailing_bytes_of_jpeg_2000_go() -> None:
    _, frame = compressed(JPEG2000Lossless)
    size = int.from_bytes(frame[4:6])
    main = frame[: 4 + size] + segment(0xFF64, b"\0\1" + NAME) + frame[4 + size :]
    checked(slice_(encapsulate([main + NAME]), JPEG2000Lossless))


def test_comments_in_a_tile_part_and_the_table_of_lengths_go() -> None:
    _, frame = compressed(JPEG2000Lossless)
    tile = frame.index(b"\xff\x90")
    comment = segment(0xFF64, b"\0\1" + NAME)
    length = int.from_bytes(frame[tile + 6 : tile + 10])
    longer = (length + len(comment)).to_bytes(4) if length else bytes(4)
    lengths = segment(0xFF55, b"\0\x40" + longer)
    spliced = b"".join(
        (frame[:tile], lengths, frame[tile : tile + 6], longer, frame[tile + 10 : tile + 12])
    )
    spliced += comment + frame[tile + 12 :]
    dataset = checked(slice_(encapsulate([spliced]), JPEG2000Lossless))
    assert b"\xff\x55" not in dataset.PixelData[:tile]


def test_the_boxes_of_a_jp2_file_go() -> None:
    _, frame = compressed(JPEG2000Lossless)
    signature = b"\0\0\0\x0cjP  \r\n\x87\n"
    note = struct.pack(">I4s", 8 + len(NAME), b"xml ") + NAME
    box = struct.pack(">I4s", 8 + len(frame), b"jp2c") + frame
    assert cut_jpeg2000(signature + note + box + NAME) == cut_jpeg2000(frame)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: b"Thornabee" + frame,
        lambda frame: frame[: len(frame) // 2],
        lambda frame: frame[:2] + b"\xff\x64\xff\xff" + frame[2:],
        lambda frame: frame.replace(b"\xff\x90\x00\x0a", b"\xff\x90\x00\x0b"),
    ],
)
def test_damaged_jpeg_2000_is_an_error(spoil: Callable[[bytes], bytes]) -> None:
    _, frame = compressed(JPEG2000Lossless)
    with pytest.raises(StreamError):
        cut_jpeg2000(spoil(frame))


def test_bytes_after_the_segments_of_rle_go() -> None:
    dataset, frame = compressed(RLELossless)
    first, second = struct.unpack("<II", frame[4:12])
    gap = NAME + b"\0"
    header = frame[:4] + struct.pack("<II", first, second + len(gap)) + NAME.ljust(52, b"\0")
    spliced = header + frame[64:second] + gap + frame[second:] + NAME
    before = dataset.pixel_array.copy()
    dataset.PixelData = encapsulate([spliced])
    cut(dataset, RLELossless)
    assert NAME not in dataset.PixelData
    assert np.array_equal(slice_(dataset.PixelData, RLELossless).pixel_array, before)


@pytest.mark.parametrize("spoil", [lambda frame: frame[:40], lambda frame: frame[:90]])
def test_damaged_rle_is_an_error(spoil: Callable[[bytes], bytes]) -> None:
    _, frame = compressed(RLELossless)
    with pytest.raises(StreamError):
        cut(slice_(encapsulate([spoil(frame)]), RLELossless), RLELossless)


def test_a_syntax_whose_streams_are_not_checked_is_an_error() -> None:
    with pytest.raises(StreamError, match="not checked"):
        cut(slice_(encapsulate([b"\0\0\1\xb3"]), MPEG2MPML), MPEG2MPML)
