"""Pixels: images that may show the patient's identity, and pixel data cut to the image.

The header decides what is refused. Pixels are not read unless ``deidentify.ocr`` asks for it; what
is cheap is done for every slice: marks outside the body that stand in a row as letters do are
flagged. Letters over the body are not, and no such mark proves that a slice shows none.

A compressed stream may hold text that no header shows: comments and application segments of JPEG
and JPEG-LS (ITU-T T.81, B.2.4.5 and B.2.4.6), comments of JPEG 2000 (ITU-T T.800, A.9.2), and bytes
that follow its end. They are removed without decoding, so that the image stays as it is.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from scipy import ndimage

from dsnet.dicom.header import sop_class_uid
from dsnet.dicom.vocabulary import image_kind, standard_name
from dsnet.errors import UserError

_SCREEN_WORDS = ("SCREEN", "CAPTURE", "SAVE", "DOSE", "REPORT", "PROTOCOL", "SSAVE")
LETTERS = "marks like letters outside the body"
"""A flag in ``files.csv``: the slice is written and should be looked at."""

_EIGHT = 8
_NEIGHBOURS_8 = np.ones((3, 3), bool)
_SOLID_HU, _BRIGHT_HU = -400, -200
_SMALLEST_BODY = 0.02
_MARGIN_PX = 2
_LETTER_PX = (5, 48)
_LEAST_LETTERS = 5
_OCR_WINDOW_HU = (-1000, 2000)
_OCR_SIZE_PX = 512
_OCR_SCORE, _OCR_LETTERS = 0.6, 3
"""Fewer letters are the marks of a side, such as L."""

_OCR_HIGHEST = 0.2
"""Height of the highest letters, as a share of the image's. Vertebrae and ribs read as a digit
or two that fill the image."""


class Reason(StrEnum):
    """Why an image is not written."""

    BURNED_IN = "BurnedInAnnotation (0028,0301) is YES"
    CAPTURE = "a secondary capture, or pixels that come from a film or a screen (0008,0064)"
    SCREEN = "ImageType (0008,0008) names a screen save, a dose sheet or a secondary image"
    COLOUR = "in colour, as screens are and CT is not"
    EIGHT_BITS = "eight bits a pixel, as screens have and CT has not"
    OVERLAY = "an overlay lies within the pixel data (60xx,0102)"
    CHANGED = "the pixels are not those that were ingested: run the workflow again"
    TEXT = "letters in the pixels, as OCR reads them"
    FORM = "not a CT image, or a value that the image depends on does not have its form"
    UNREADABLE = "the file is gone, has changed or cannot be written without identity"


def refusal(dataset: Dataset) -> Reason | None:
    """Return why the pixels of `dataset` are suspect, or None.

    The header alone decides; the pixels are not searched for text.
    """
    types = dataset.get("ImageType") or []
    values = [str(value).upper() for value in ([types] if isinstance(types, str) else types)]
    sop_class = standard_name(sop_class_uid(dataset), "SOP Class")
    screen = any(word in value for value in values for word in _SCREEN_WORDS)
    overlays = (dataset.get((group, 0x0102)) for group in range(0x6000, 0x6020, 2))
    checks = {
        Reason.BURNED_IN: str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES",
        Reason.CAPTURE: "Secondary Capture" in sop_class or bool(dataset.get("ConversionType")),
        Reason.SCREEN: screen or image_kind(values, sop_class) == "secondary",
        Reason.COLOUR: dataset.get("SamplesPerPixel", 1) != 1,
        Reason.EIGHT_BITS: dataset.get("BitsStored", 16) <= _EIGHT,
        Reason.OVERLAY: any(element is not None and element.value for element in overlays),
    }
    return next((reason for reason, holds in checks.items() if holds), None)


def has_letters_outside_body(hu: NDArray[np.floating[Any]]) -> bool:
    """Return whether five marks or more stand in a row outside the body, as letters do.

    A mark is a bright 8-connected component of 5 to 48 pixels' height that is not much wider than
    high; neighbours are of similar height, on one line and near each other. The body is the largest
    component above -400 HU.

    Parameters
    ----------
    hu : (rows, columns) array
    """
    bright = (hu > _BRIGHT_HU) & ~_body(hu)
    labels, _ = ndimage.label(bright, _NEIGHBOURS_8)
    boxes = [
        (rows.start, rows.stop, columns.start, columns.stop)
        for rows, columns in ndimage.find_objects(labels)
    ]
    lines: list[list[tuple[int, int, int, int]]] = []
    for box in sorted(filter(_is_like_a_letter, boxes), key=lambda box: box[2]):
        line = max((line for line in lines if _follows(line[-1], box)), key=len, default=None)
        if line is None:
            lines.append([box])
        else:
            line.append(box)
    return any(len(line) >= _LEAST_LETTERS for line in lines)


def _body(hu: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return the largest solid component, filled and a little larger; nothing where it is small."""
    labels, count = ndimage.label(hu > _SOLID_HU)
    sizes = np.bincount(labels.ravel(), minlength=2)[1:]
    if not count or sizes.max() < _SMALLEST_BODY * hu.size:
        return np.zeros(hu.shape, bool)
    body = ndimage.binary_fill_holes(labels == sizes.argmax() + 1)
    return ndimage.binary_dilation(body, _NEIGHBOURS_8, _MARGIN_PX)


def _is_like_a_letter(box: tuple[int, int, int, int]) -> bool:
    top, bottom, left, right = box
    height = bottom - top
    return _LETTER_PX[0] <= height <= _LETTER_PX[1] and right - left <= 1.5 * height + 2


def _follows(letter: tuple[int, int, int, int], box: tuple[int, int, int, int]) -> bool:
    """Return whether `box` may be the next letter of a line."""
    heights = sorted((letter[1] - letter[0], box[1] - box[0]))
    shared = min(letter[1], box[1]) - max(letter[0], box[0])
    near = box[2] - letter[3] <= 1.5 * heights[1]
    return near and shared >= 0.5 * heights[0] and heights[1] <= 2 * heights[0]


def shows_text(hu: NDArray[np.floating[Any]]) -> bool:
    """Return whether OCR reads more than two letters or digits in a slice.

    Parameters
    ----------
    hu : (rows, columns) array

    Raises
    ------
    UserError
        If the packages of the extra ``ocr`` are not installed.
    """
    low, high = _OCR_WINDOW_HU
    grey = (np.clip((hu - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(grey)
    scale = max(1, round(_OCR_SIZE_PX / max(hu.shape)))
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)
    result = ocr_engine()(np.asarray(image.convert("RGB")), use_cls=False)
    texts = [
        str(text)
        for text, score, corners in zip(
            result.txts or (),
            result.scores or (),
            () if result.boxes is None else result.boxes,
            strict=True,
        )
        if score >= _OCR_SCORE and _height(corners) <= _OCR_HIGHEST * image.height
    ]
    return sum(letter.isalnum() for text in texts for letter in text) >= _OCR_LETTERS


def _height(corners: NDArray[np.floating[Any]]) -> float:
    """Return the shorter side of a line of text, which may be turned, by its (4, 2) corners."""
    sides = np.linalg.norm(np.diff(corners[:3], axis=0), axis=1)
    return float(sides.min())


@lru_cache(maxsize=1)
def ocr_engine() -> Callable[..., Any]:
    """Return RapidOCR with the models that its wheel holds; nothing is loaded from a network.

    Raises
    ------
    UserError
        If the packages of the extra ``ocr`` are not installed.
    """
    try:
        from rapidocr import RapidOCR  # noqa: PLC0415 - an extra, for those who ask for it
    except ImportError as error:
        raise UserError(
            "deidentify.ocr",
            expected="the packages of the extra ocr",
            came="none",
            remedy="install them by pip install 'dsnet[ocr]', or set deidentify.ocr to none",
        ) from error
    # One thread, since slices are shared among processes.
    engine: Callable[..., Any] = RapidOCR(
        params={
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
    return engine


class StreamError(ValueError):
    """Pixel data that are not as their transfer syntax and their image pixel module require."""


def cut(dataset: Dataset, syntax: UID) -> None:
    """Cut the pixel data of a dataset of one frame to what its image needs.

    Parameters
    ----------
    dataset : pydicom.Dataset
        With an image pixel module of one sample per pixel.
    syntax : pydicom.uid.UID

    Raises
    ------
    StreamError
        If they are too short, damaged, or of a transfer syntax that is not checked.
    """
    content = dataset.get_item("PixelData").value if "PixelData" in dataset else None
    sizes = [dataset.get(keyword) for keyword in ("Rows", "Columns", "BitsAllocated")]
    if not isinstance(content, bytes) or not all(isinstance(size, int) for size in sizes):
        raise StreamError("no pixel data")
    rows, columns, bits = sizes
    pixels = rows * columns
    if not syntax.is_encapsulated:
        size = pixels * bits // 8
        if len(content) < size:
            raise StreamError("too few bytes")
        if len(content) > size + size % 2:
            dataset.PixelData = content[:size] + bytes(size % 2)
        return
    frame = b"".join(generate_frames(content, number_of_frames=1))
    if syntax == RLELossless:
        frame = cut_rle(frame, pixels, bits // 8)
    elif syntax in _CUTTERS:
        frame = _CUTTERS[syntax](frame)
    else:
        raise StreamError("a transfer syntax that is not checked")
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True


_SCAN_END = re.compile(rb"\xff+[\x80-\xcf\xd8-\xfe]")
"""The next marker after entropy-coded data: neither a stuffed byte nor a restart marker."""

_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)


def cut_jpeg(stream: bytes) -> bytes:
    """Return a JPEG or JPEG-LS stream without comments, application segments and what follows it.

    Application segments change nothing in images of one component: they hold thumbnails, EXIF,
    resolution and colour transforms.
    """
    if stream[:2] != bytes((0xFF, _SOI)):
        raise StreamError("no start of image")
    parts, at = [stream[:2]], 2
    while True:
        marker = re.compile(rb"\xff+([^\xff])").match(stream, at)
        if not marker:
            raise StreamError("no marker where one must be")
        at, code = marker.start(1) - 1, marker[1][0]
        if code == _EOI:
            return b"".join((*parts, bytes((0xFF, _EOI))))
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4])
        if end > len(stream) or end < at + 4:
            raise StreamError("a segment beyond the end")
        if code != _COM and code not in _APPLICATION:
            parts.append(stream[at:end])
        at = end
        if code == _SOS:
            scan = _SCAN_END.search(stream, at)
            if not scan:
                raise StreamError("no end of image")
            parts.append(stream[at : scan.start()])
            at = scan.start()


_J2K_SOC, _J2K_SOT, _J2K_SOD, _J2K_EOC = b"\xff\x4f", b"\xff\x90", b"\xff\x93", b"\xff\xd9"
_SOT_LENGTH = b"\0\x0a"
_J2K_COM, _J2K_TLM = b"\xff\x64", b"\xff\x55"


def cut_jpeg2000(stream: bytes) -> bytes:
    """Return a JPEG 2000 codestream without comments, the boxes of a JP2 file and what follows it.

    The lengths of tile-parts follow; their table (TLM), which is optional, is removed, too.
    """
    start = stream.find(_J2K_SOC)
    if start < 0 or (start > 0 and stream[4:8] != b"jP  "):
        raise StreamError("no start of codestream")
    main, at = _segments(stream, start + 2, _J2K_SOT)
    parts = [_J2K_SOC, main]
    while stream[at : at + 2] == _J2K_SOT:
        length = int.from_bytes(stream[at + 6 : at + 10])
        end = at + length if length else stream.rfind(_J2K_EOC)
        header, data = _segments(stream, at + 12, _J2K_SOD)
        sized = stream[at + 2 : at + 4] == _SOT_LENGTH
        if not (sized and at < data <= end <= len(stream)):
            raise StreamError("a tile-part beyond the end")
        size = 12 + len(header) + end - data
        parts += [stream[at : at + 6], size.to_bytes(4), stream[at + 10 : at + 12]]
        parts += [header, stream[data:end]]
        at = end
    if stream[at : at + 2] != _J2K_EOC:
        raise StreamError("no end of codestream")
    return b"".join((*parts, _J2K_EOC))


def _segments(stream: bytes, at: int, last: bytes) -> tuple[bytes, int]:
    """Return the segments up to the marker `last` without comments, and where it stands."""
    kept = []
    while stream[at : at + 2] != last:
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4])
        if stream[at : at + 1] != b"\xff" or end > len(stream) or end < at + 4:
            raise StreamError("a segment beyond the end")
        if stream[at : at + 2] not in (_J2K_COM, _J2K_TLM):
            kept.append(stream[at:end])
        at = end
    return b"".join(kept), at


_RLE_HEADER = 64
_NO_OPERATION = 128


def cut_rle(frame: bytes, pixels: int, bytes_each: int) -> bytes:
    """Return an RLE frame whose segments end with their last pixel (PS3.5 Annex G)."""
    offsets = [int.from_bytes(frame[at : at + 4], "little") for at in range(4, _RLE_HEADER, 4)]
    if len(frame) < _RLE_HEADER or int.from_bytes(frame[:4], "little") != bytes_each:
        raise StreamError("another number of segments than bytes per pixel")
    segments: list[bytes] = []
    starts = []
    for start, limit in zip(offsets, (*offsets[1:bytes_each], len(frame)), strict=False):
        segment = frame[start : _end_of_segment(frame, start, limit, pixels)]
        starts.append(_RLE_HEADER + sum(map(len, segments)))
        segments.append(segment + bytes(len(segment) % 2))
    header = b"".join(number.to_bytes(4, "little") for number in (bytes_each, *starts))
    return b"".join((header.ljust(_RLE_HEADER, b"\0"), *segments))


def _end_of_segment(frame: bytes, at: int, limit: int, pixels: int) -> int:
    """Return where the runs of a segment have given all pixels."""
    count = 0
    while count < pixels:
        if not _RLE_HEADER <= at < min(limit, len(frame)):
            raise StreamError("too few bytes")
        code = frame[at]
        if code < _NO_OPERATION:
            count += code + 1
            at += code + 2
        else:
            count += 257 - code if code > _NO_OPERATION else 0
            at += 2 if code > _NO_OPERATION else 1
    return at


_CUTTERS: dict[UID, Callable[[bytes], bytes]] = {
    **dict.fromkeys(
        (
            JPEGBaseline8Bit,
            JPEGExtended12Bit,
            JPEGLossless,
            JPEGLosslessSV1,
            JPEGLSLossless,
            JPEGLSNearLossless,
        ),
        cut_jpeg,
    ),
    **dict.fromkeys(
        (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K), cut_jpeg2000
    ),
}
