"""Images whose pixels may show the patient's identity: by the header, by letters, and by OCR.

The header decides what is refused. Pixels are not read unless ``deidentify.ocr`` asks for it; what
is cheap is done for every slice: marks outside the body that stand in a row as letters do are
flagged. Letters over the body are not, and no such mark proves that a slice shows none.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
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
