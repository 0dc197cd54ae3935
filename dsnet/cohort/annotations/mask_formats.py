"""Masks of vertebral bodies as files: NIfTI-1 and -2, and DICOM Segmentation objects.

NIfTI (https://nifti.nimh.nih.gov) has one label per vertebral body. Which level a label means
follows, in this order, from

1. the config key ``annotations.mask_labels``, if it is a map;
2. the file's name, if it is a level (``vertebrae_L1.nii.gz``) and the mask has the label 1 alone;
3. the label table that TotalSegmentator and Connectome Workbench write into the header;
4. ``annotations.mask_labels``, if it is a preset.

A DICOM Segmentation (PS3.3 A.51 and A.80) is read with highdicom; each segment is a level by its
label or its code. A frame that names the one image that it was made on counts on that image alone;
other frames are one volume. This module is imported only where there is a mask: nibabel and
highdicom take a second.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
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

from dsnet.cohort.annotations import LEVEL_NAMES, VERSE, Source, level_of
from dsnet.cohort.annotations.mask_geometry import Body, Floats, bodies, without_suffix
from dsnet.config.cohort import Annotations
from dsnet.dicom.reader import quiet

TOTAL_V2: Final = {
    **{27 + n: f"L{5 - n}" for n in range(5)},
    **{32 + n: f"T{12 - n}" for n in range(12)},
}
"""Vertebrae of TotalSegmentator's task ``total`` from version 2 on (its class map)."""

TOTAL_V1: Final = {
    **{18 + n: f"L{5 - n}" for n in range(5)},
    **{23 + n: f"T{12 - n}" for n in range(12)},
}
"""The same of version 1."""

_PRESETS: Final = {
    "totalsegmentator_v1": TOTAL_V1,
    "totalsegmentator_v2": TOTAL_V2,
    "verse": VERSE,
    "tptbox": VERSE,
}

_LUMBAR_V2: Final = frozenset(range(27, 32))
_BELOW_V2: Final = frozenset(range(18, 27))
"""L5 to T9 of version 1; bowel, bladder, sacrum and S1 of version 2."""
_MUSCLES_V1: Final = frozenset({100, 101})
_CORD_AND_MUSCLES_V2: Final = frozenset({79, 86, 87})
"""Autochthonous muscles, which surround every vertebra, and the spinal cord."""
_T1_V1: Final = 34
_LAST_V1: Final = 104
_LAST_VERSE: Final = 28

_FLAT: Final = 1e-9
"""In mm3: no voxel is as small."""

_MAX_VOXELS: Final = 2**29
_MAX_BYTES: Final = 2**31
"""More than a mask of a whole body at 0.7 mm has; a few bytes of zip can pretend to be more."""

_BODY_SUBREGIONS: Final = (49, 50)
"""Rim and inside of the body in TPTBox's ``subreg`` masks."""

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

_DERIVATION: Final = "DerivationImageSequence"
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
    values, affine, table = _load_nifti(source, source.path, params.affine)
    if not values.any():
        return None
    partner = _partner(source.path, "vert", "subreg") if tptbox else None
    if partner:
        subregions, other, _ = _load_nifti(source, partner, params.affine)
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


def _load_nifti(
    source: Source, path: Path, choice: str | None
) -> tuple[NDArray[np.integer], Floats, dict[int, str]]:
    """Return labels, affine (LPS) and label table."""
    try:
        image: Any = nib.load(path)
        _check_size(source, image)
        values = np.asanyarray(image.dataobj)
        affine = _affine(source, image, choice)
    except (*_NIFTI_FAULTS, KeyError) as error:
        raise source.error(
            "a readable NIfTI volume", "something else", "export it again"
        ) from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.dtype.kind in "fb":
        with np.errstate(invalid="ignore"):  # NaN is no label, which the next line detects
            whole = values.astype(np.int32)
        values = whole if np.array_equal(whole, values) else values
    if values.ndim != 3 or values.dtype.kind not in "iu":
        raise source.error(
            "a volume of three axes that holds whole numbers",
            f"{values.ndim} axes"
            if values.ndim != 3
            else "fractions"
            if values.dtype.kind == "f"
            else "colours or complex numbers",
            "export the labels, not the image or a probability",
        )
    return values, affine, _label_table(image)


def _check_size(source: Source, image: Any) -> None:
    """Stop before a volume is read that no mask can be."""
    voxels = math.prod(int(length) for length in image.shape)
    size = voxels * image.get_data_dtype().itemsize
    if voxels > _MAX_VOXELS or size > _MAX_BYTES:
        raise source.error(
            f"a mask of at most {_MAX_VOXELS:,} voxels and {_MAX_BYTES:,} bytes",
            f"{voxels:,} voxels and {size:,} bytes",
            "crop it to its CT, or export it again",
        )


def _affine(source: Source, image: Any, choice: str | None) -> Floats:
    """Return the affine (LPS) of the header: of sform and qform the one that there is or is chosen.

    Where both are there, they may differ by a voxel at most.
    """
    forms = {
        "sform": image.get_sform(coded=True),
        "qform": image.get_qform(coded=True),
    }
    given = {name: np.asarray(form) for name, (form, code) in forms.items() if code}
    if not given:
        raise source.error(
            "a header that says where the mask lies (sform or qform)",
            "neither",
            "export it with the affine of its CT",
        )
    if len(given) == 2 and choice is None:
        shape = (*image.shape, 1, 1)[:3]
        corners = np.array(np.meshgrid(*((0, length - 1) for length in shape)))
        index = np.vstack([corners.reshape(3, -1), np.ones(8)])
        moved = np.linalg.solve(given["sform"], given["qform"] @ index) - index
        voxels = float(np.abs(moved).max())
        if voxels > 1:
            raise source.error(
                "an sform and a qform that agree",
                f"two that differ by {voxels:.1f} voxels",
                "set annotations.affine to the one that fits the CT, or export it again",
            )
    chosen = given[choice if choice in given else next(iter(given))]
    if not np.isfinite(chosen).all() or abs(np.linalg.det(chosen)) < _FLAT:
        raise source.error(
            "an affine of three axes", "a flat one", "export it with the affine of its CT"
        )
    return np.asarray(_TO_LPS @ chosen, dtype=float)


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
    stem = without_suffix(source.path.name)
    of_name = level_of(stem, params.level_names)
    if of_name in LEVEL_NAMES and not stem.isdecimal() and values.max(initial=0) <= 1:
        return {1: of_name}
    named = {label: level_of(name, params.level_names) for label, name in table.items()}
    if any(level in LEVEL_NAMES for level in named.values()):
        return {label: level for label, level in named.items() if level in LEVEL_NAMES}
    return _preset_levels(source, frozenset(np.unique(values).tolist()) - {0}, params)


def _preset_levels(source: Source, present: frozenset[int], params: Annotations) -> dict[int, str]:
    """Return the level of each label by the preset of the config."""
    if params.mask_labels == "totalsegmentator":
        return _total(source, present)
    if params.mask_labels == "verse" and max(present) > _LAST_VERSE:
        raise source.error(
            f"VerSe's labels, which end at {_LAST_VERSE}",
            f"labels up to {max(present)}",
            "set annotations.mask_labels to the program that wrote the mask",
        )
    if isinstance(params.mask_labels, str):
        return _PRESETS[params.mask_labels]
    raise source.error(
        "to know what the labels of a mask mean",
        "no label table in its header, and no config",
        "set annotations.mask_labels to a preset or a map such as {20: L1, 21: L2}",
    )


def _total(source: Source, present: frozenset[int]) -> dict[int, str]:
    """Return what TotalSegmentator's numbers mean, where they tell its version.

    Bodies have VerSe's numbers; 8 to 25 of the task ``total`` are mostly organs, which do not come
    without others. Version 2 is known by numbers that version 1 did not have, by what surrounds
    every vertebra, or by a lumbar spine from L5 to L1 that version 1 would not have numbered so: in
    it, 27 to 31 are T8 to T4, and lie above T9 (26).
    """
    if present <= VERSE.keys():
        return VERSE
    of_v1 = sorted(label for label in present if label in TOTAL_V1)
    unbroken = of_v1 == list(range(of_v1[0], of_v1[-1] + 1)) if of_v1 else False
    lumbar = present >= _LUMBAR_V2 and not (present & _BELOW_V2 and unbroken)
    if (
        max(present) > _LAST_V1
        or (present >= _CORD_AND_MUSCLES_V2 and _T1_V1 not in present)
        or (lumbar and not present >= _MUSCLES_V1)
    ):
        return TOTAL_V2
    raise source.error(
        "labels of TotalSegmentator from which its version follows",
        "labels that versions 1 and 2 may both have written, for other vertebrae",
        "set annotations.mask_labels to totalsegmentator_v1 or totalsegmentator_v2",
    )


def read_seg(source: Source, params: Annotations) -> tuple[list[Body], set[str], str]:
    """Return the vertebral bodies of a segmentation object; segments of no level are left out.

    A fractional segment counts from a half. If each frame names the one image that it was made on,
    it is a body of its own, for that image alone.

    Returns
    -------
    bodies : list of Body
    references : set of str
        SeriesInstanceUIDs and SOPInstanceUIDs that its header names.
    patient_id : str
        "" where the header has none.

    Raises
    ------
    UserError
        If it is another DICOM object, cannot be read, or its frames name no image each and are no
        evenly spaced volume.
    """
    try:
        with quiet():
            image = highdicom.seg.segread(source.path)
            levels = {
                int(number): _segment_level(image.get_segment_description(number), params)
                for number in image.segment_numbers
            }
            levels = {number: level for number, level in levels.items() if level}
            frames = image.PerFrameFunctionalGroupsSequence
            images = [_source_image(_group(image, frame, _DERIVATION)) for frame in frames]
            segments = (
                _frame_bodies(image, images, levels) if all(images) else _volumes(image, levels)
            )
            patient_id = str(image.get("PatientID") or "").strip()
            return segments, _references(image), patient_id
    except _SEG_FAULTS as error:
        raise source.error(
            "a DICOM Segmentation whose frames name their images or are one evenly spaced volume",
            "another DICOM object, or one that cannot be read",
            "export it again, as NIfTI if need be, or move it out of annotations/",
        ) from error


def _group(image: Any, frame: Dataset, keyword: str) -> Sequence[Dataset]:
    """Return a functional group of a frame, which may be shared by all; empty without one."""
    return frame.get(keyword) or image.SharedFunctionalGroupsSequence[0].get(keyword) or []


def _source_image(derivations: Sequence[Dataset]) -> str:
    """Return the SOPInstanceUID of the one image that a frame was made on, or ""."""
    uids = {
        str(image.ReferencedSOPInstanceUID)
        for derivation in derivations
        for image in derivation.get("SourceImageSequence") or []
    }
    return uids.pop() if len(uids) == 1 else ""


def _volumes(image: Any, levels: Mapping[int, str]) -> list[Body]:
    """Return the bodies of a segmentation whose frames are one volume."""
    segments = []
    for number, level in levels.items():
        # Segment by segment, since they may overlap.
        volume = image.get_volume(segment_numbers=[number], combine_segments=False)
        values = np.where(volume.array[..., 0] >= 0.5, number, 0)
        segments += bodies(values, volume.affine, {number: level})
    return segments


def _frame_bodies(image: Any, images: Sequence[str], levels: dict[int, str]) -> list[Body]:
    """Return a body as thick as one slice for each frame and segment."""
    half = int(image.get("MaximumFractionalValue") or 1) / 2
    segments = []
    for number, (uid, frame) in enumerate(
        zip(images, image.PerFrameFunctionalGroupsSequence, strict=True), start=1
    ):
        values = np.asarray(image.get_stored_frame(number)).T
        if image.SegmentationType != "LABELMAP":
            identified = _group(image, frame, "SegmentIdentificationSequence")[0]
            values = np.where(values >= half, int(identified.ReferencedSegmentNumber), 0)
        affine = _frame_affine(image, frame)
        segments += [replace(body, image=uid) for body in bodies(values[..., None], affine, levels)]
    return segments


def _frame_affine(image: Any, frame: Dataset) -> Floats:
    """Return the affine of a frame, as of a volume of one slice."""
    measures, orientation, position = (
        _group(image, frame, f"{name}Sequence")[0]
        for name in ("PixelMeasures", "PlaneOrientation", "PlanePosition")
    )
    affine = highdicom.spatial.create_affine_matrix_from_attributes(
        position.ImagePositionPatient,
        orientation.ImageOrientationPatient,
        measures.PixelSpacing,
        spacing_between_slices=float(measures.get("SliceThickness") or 1),
        index_convention=("R", "D"),  # columns, then rows
    )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < _FLAT:
        raise ValueError("a frame without spacing or orientation")
    return affine


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
