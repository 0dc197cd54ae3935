"""Pixel data cut to the image: nothing after it, and no comments within compressed streams.

A compressed stream may hold text that no header shows: comments and application segments of JPEG
and JPEG-LS (ITU-T T.81, B.2.4.5 and B.2.4.6), comments of JPEG 2000 (ITU-T T.800, A.9.2), and bytes
that follow its end. They are removed without decoding, so that the image stays as it is.
"""

import re
from collections.abc import Callable

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
