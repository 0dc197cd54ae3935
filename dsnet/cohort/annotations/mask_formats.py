"""Masks of vertebral bodies as files: NIfTI-1 and -2, and DICOM Segmentation objects.

NIfTI (https://nifti.nimh.nih.gov) has one label per vertebral body. Which level a label means
follows, in this order, from

1. the config key ``annotations.mask_labels``, if it is a map;
2. the file's name, if it is a level (``vertebrae_L1.nii.gz``) and the mask has the label 1 alone;
3. the label table that TotalSegmentator and Connectome Workbench write into the header;
4. ``annotations.mask_labels``, if it is a preset.

A DICOM Segmentation (PS3.3 A.51 and A.80) is read with highdicom; each segment is a level by its
label or its code. This module is imported only where there is a mask: nibabel and highdicom take a
second.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import highdicom
import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from dsnet.cohort.annotations.annotation import LEVEL_NAMES, VERSE, Source, level_of
from dsnet.cohort.annotations.mask_geometry import Body, Floats, bodies
from dsnet.config.cohort import Annotations
from dsnet.dicom.reader import quiet

TOTAL: Final = {
    **{27 + n: f"L{5 - n}" for n in range(5)},
    **{32 + n: f"T{12 - n}" for n in range(12)},
}
"""Whole vertebrae of TotalSegmentator's task ``total`` from version 2 on (its class map)."""

_BODY_SUBREGIONS: Final = (49, 50)
"""Rim and inside of the body in TPTBox's ``subreg`` masks."""

_NIFTI_SUFFIXES: Final = (".nii.gz", ".nii")
_TO_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
"""NIfTI's axes run to the right, the front and the head."""

_NIFTI_FAULTS = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error)
"""What nibabel raises for a file that is cut or no NIfTI."""

_SEG_FAULTS = (
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


def read_nifti(source: Source, params: Annotations) -> list[Body] | None:
    """Return the vertebral bodies of a mask, or None for one that adds nothing.

    That is one without a label, as TotalSegmentator writes for a structure that it does not detect,
    and a ``subreg`` mask whose ``vert`` mask lies beside it.

    With the preset ``tptbox`` a ``vert`` mask is cut by the ``subreg`` mask beside it (the same
    name except for that word), if there is one.

    Raises
    ------
    UserError
        If it is no labelled volume with an affine, or its partner has another grid.
    """
    tptbox = params.mask_labels == "tptbox"
    if tptbox and "subreg" in source.path.name and _partner(source.path, "subreg", "vert"):
        return None
    values, affine, table = _load_nifti(source, source.path)
    if not values.any():
        return None
    partner = _partner(source.path, "vert", "subreg") if tptbox else None
    if partner:
        subregions, other, _ = _load_nifti(source, partner)
        if subregions.shape != values.shape or not np.allclose(other, affine, atol=1e-3):
            raise source.error(
                "a subreg mask on the grid of its vert mask",
                "one on another grid",
                "write both from the same image",
            )
        values = np.where(np.isin(subregions, _BODY_SUBREGIONS), values, 0)
    return bodies(values, affine, _label_levels(source, values, table, params))


def _partner(path: Path, word: str, other: str) -> Path | None:
    partner = path.with_name(path.name.replace(word, other))
    return partner if partner != path and partner.exists() else None


def _load_nifti(source: Source, path: Path) -> tuple[NDArray[np.integer], Floats, dict[int, str]]:
    """Return labels, affine (LPS) and label table."""
    try:
        image: Any = nib.load(path)
        values = np.asanyarray(image.dataobj)
        sform, qform = int(image.header["sform_code"]), int(image.header["qform_code"])
    except (*_NIFTI_FAULTS, KeyError) as error:
        raise source.error(
            "a readable NIfTI volume", "something else", "export it again"
        ) from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.dtype.kind not in "iu":
        with np.errstate(invalid="ignore"):  # NaN is no label, which the next line detects
            whole = values.astype(np.int32)
        values = whole if np.array_equal(whole, values) else values
    if values.ndim != 3 or values.dtype.kind not in "iu":
        raise source.error(
            "a volume of three axes that holds whole numbers",
            f"{values.ndim} axes" if values.ndim != 3 else "fractions",
            "export the labels, not the image or a probability",
        )
    if not sform and not qform:
        raise source.error(
            "a header that says where the mask lies (sform or qform)",
            "neither",
            "export it with the affine of its CT",
        )
    return values, _TO_LPS @ np.asarray(image.affine, dtype=float), _label_table(image)


def _label_table(image: Any) -> dict[int, str]:
    """Return the names of labels that the header's extensions hold."""
    names: dict[int, str] = {}
    for extension in image.header.extensions:
        try:
            text = extension.content.strip(b"\0 \r\n")
            root = ET.fromstring(text)  # noqa: S314 - the user's own file; expat bounds entities
        except (ET.ParseError, AttributeError, TypeError):
            continue  # another program's extension
        for label in root.iter("Label"):
            key = label.get("Key", "")
            if key.isdecimal():
                names[int(key)] = (label.text or "").strip()
    return names


def _label_levels(
    source: Source, values: NDArray[np.integer], table: Mapping[int, str], params: Annotations
) -> dict[int, str]:
    """Return the level of each label, in the order of this module's docstring."""
    if isinstance(params.mask_labels, dict):
        return dict(params.mask_labels)
    stem = next(
        source.path.name[: -len(s)] for s in _NIFTI_SUFFIXES if source.path.name.lower().endswith(s)
    )
    of_name = level_of(stem, params.level_names)
    if of_name in LEVEL_NAMES and not stem.isdecimal() and values.max(initial=0) <= 1:
        return {1: of_name}
    named = {label: level_of(name, params.level_names) for label, name in table.items()}
    if any(level in LEVEL_NAMES for level in named.values()):
        return {label: level for label, level in named.items() if level in LEVEL_NAMES}
    if params.mask_labels == "totalsegmentator":
        return _total(values)
    if params.mask_labels in ("verse", "tptbox"):
        return VERSE
    raise source.error(
        "to know what the labels of a mask mean",
        "no label table in its header, and no config",
        "set annotations.mask_labels to a preset or a map such as {20: L1, 21: L2}",
    )


def _total(values: NDArray[np.integer]) -> dict[int, str]:
    """Return TotalSegmentator's numbers: of bodies (as VerSe's) if there is no other, or `TOTAL`.

    Label 19 to 24 of the task ``total`` are organs, which do not come without others.
    """
    present = np.unique(values)
    return VERSE if set(present.tolist()) - {0} <= VERSE.keys() else TOTAL


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
    """Return the vertebral bodies of a segmentation object; segments of no level are left out.

    A fractional segment counts from a half.

    Raises
    ------
    UserError
        If it is another DICOM object, cannot be read, or its frames are no evenly spaced volume.
    """
    try:
        with quiet():
            image = highdicom.seg.segread(source.path)
            segments = [
                body
                for number in image.segment_numbers
                for body in _segment_bodies(image, int(number), params)
            ]
            return Segments(segments, _references(image))
    except _SEG_FAULTS as error:
        raise source.error(
            "a DICOM Segmentation whose frames are one evenly spaced volume",
            "another DICOM object, or one that cannot be read",
            "export it again, as NIfTI if need be, or move it out of annotations/",
        ) from error


def _segment_bodies(image: Any, number: int, params: Annotations) -> list[Body]:
    level = _segment_level(image.get_segment_description(number), params)
    if not level:
        return []
    # Segment by segment, since they may overlap.
    volume = image.get_volume(segment_numbers=[number], combine_segments=False)
    values = (volume.array[..., 0] >= 0.5).astype(np.uint8)
    return [
        Body(number, body.label, body.voxels, body.affine)
        for body in bodies(values, volume.affine, {1: level})
    ]


def _segment_level(description: Dataset, params: Annotations) -> str:
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
    """Return the level of each SNOMED CT code of a vertebra in pydicom's dictionary."""
    named = {level: f"{level}Vertebra" for level in sorted(LEVEL_NAMES)}
    return {
        getattr(codes.SCT, name).value: level
        for level, name in named.items()
        if name in dir(codes.SCT)
    }


def _references(image: Dataset) -> set[str]:
    uids = set()
    for series in image.get("ReferencedSeriesSequence") or []:
        uids.add(str(series.get("SeriesInstanceUID", "")))
        instances = series.get("ReferencedInstanceSequence") or []
        uids.update(str(one.get("ReferencedSOPInstanceUID", "")) for one in instances)
    return uids - {""}
