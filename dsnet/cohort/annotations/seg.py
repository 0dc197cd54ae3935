"""Masks in DICOM Segmentation objects (PS3.3 A.51 and A.80), read with highdicom."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import highdicom
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from dsnet.cohort.annotations.annotation import Source
from dsnet.cohort.annotations.level import LEVEL_NAMES, level_of
from dsnet.cohort.annotations.mask import Body, bodies
from dsnet.config import Annotations
from dsnet.dicom.reader import quiet
from dsnet.errors import UserError

_SEGMENTATIONS: Final = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
"""Segmentation Storage and Label Map Segmentation Storage."""

_FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What highdicom and pydicom raise for an object that is cut, wrong or no regular volume."""

_CODED: Final = (
    "SegmentedPropertyTypeCodeSequence",
    "AnatomicRegionSequence",
    "PrimaryAnatomicStructureSequence",
)


@dataclass(frozen=True)
class Segments:
    """What a segmentation object holds.

    Attributes
    ----------
    bodies : list of Body
    references : set of str
        SeriesInstanceUIDs and SOPInstanceUIDs that its header names.
    """

    bodies: list[Body]
    references: set[str]


def read_seg(source: Source, params: Annotations) -> Segments:
    """Return the vertebral bodies of a segmentation object; segments of no level are left alone.

    A fractional segment counts from a half.

    Raises
    ------
    UserError
        If it is another DICOM object, cannot be read, or its frames are no evenly spaced volume.
    """
    try:
        with quiet():
            image = highdicom.seg.segread(source.path)
            found = [
                body
                for number in image.segment_numbers
                for body in _bodies(image, int(number), params)
            ]
            return Segments(found, _references(image))
    except _FAULTS as error:
        raise _fault(source) from error


def _fault(source: Source) -> UserError:
    return source.error(
        "a DICOM Segmentation whose frames are one evenly spaced volume",
        "another DICOM object, or one that cannot be read",
        "export it again, as NIfTI if need be, or move it out of annotations/",
    )


def _bodies(image: Any, number: int, params: Annotations) -> list[Body]:
    level = _level(image.get_segment_description(number), params)
    if not level:
        return []
    # Segment by segment, since they may overlap.
    volume = image.get_volume(segment_numbers=[number], combine_segments=False)
    values = (volume.array[..., 0] >= 0.5).astype(np.uint8)
    return [
        Body(number, body.label, body.voxels, body.affine)
        for body in bodies(values, volume.affine, {1: level})
    ]


def _level(description: Dataset, params: Annotations) -> str:
    """Return the level of a segment: of its label, else of a code; "" if it has none."""
    items = [item for keyword in _CODED for item in description.get(keyword) or []]
    meanings = [str(item.get("CodeMeaning", "")) for item in items]
    for name in (str(description.get("SegmentLabel", "")), *meanings):
        level = level_of(name, params.level_names) if not name.isdecimal() else ""
        if level:
            return level if level in LEVEL_NAMES else ""
    values = (_snomed().get(str(item.get("CodeValue", "")), "") for item in items)
    return next((level for level in values if level), "")


@cache
def _snomed() -> dict[str, str]:
    """Return the level of each SNOMED CT code of a vertebra that pydicom's dictionary knows."""
    named = {level: f"{level}Vertebra" for level in sorted(LEVEL_NAMES)}
    return {
        getattr(codes.SCT, name).value: level
        for level, name in named.items()
        if name in dir(codes.SCT)
    }


def _references(image: Dataset) -> set[str]:
    found = set()
    for series in image.get("ReferencedSeriesSequence") or []:
        found.add(str(series.get("SeriesInstanceUID", "")))
        instances = series.get("ReferencedInstanceSequence") or []
        found.update(str(one.get("ReferencedSOPInstanceUID", "")) for one in instances)
    return found - {""}
