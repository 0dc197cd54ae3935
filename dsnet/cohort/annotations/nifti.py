"""Masks in NIfTI-1 and -2 (https://nifti.nimh.nih.gov): one label per vertebral body.

Which level a label means follows, in this order, from

1. the config key ``annotations.mask_labels``, if it is a map;
2. the file's name, if it is a level (``vertebrae_L1.nii.gz``) and the mask has the label 1 alone;
3. the label table that TotalSegmentator and Connectome Workbench write into the header;
4. ``annotations.mask_labels``, if it is a preset.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from dsnet.cohort.annotations.annotation import Source
from dsnet.cohort.annotations.level import LEVEL_NAMES, VERSE, level_of
from dsnet.cohort.annotations.mask import Body, Floats, bodies
from dsnet.config import Annotations

TOTAL: Final = {
    **{27 + n: f"L{5 - n}" for n in range(5)},
    **{32 + n: f"T{12 - n}" for n in range(12)},
}
"""Whole vertebrae of TotalSegmentator's task ``total`` from version 2 on (its class map)."""

_BODY_PARTS: Final = (49, 50)
"""Rim and inside of the body in TPTBox's ``subreg`` masks."""

_SUFFIXES: Final = (".nii.gz", ".nii")
_TO_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
"""NIfTI's axes run to the right, the front and the head."""

_FAULTS = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error)
"""What nibabel raises for a file that is cut or no NIfTI."""


def read_nifti(source: Source, params: Annotations) -> list[Body] | None:
    """Return the vertebral bodies of a mask, or None for one that says nothing.

    That is one without a label, as TotalSegmentator writes for what it does not find, and one that
    is only another's partner.

    With the preset ``tptbox`` a ``vert`` mask is cut by the ``subreg`` mask beside it (the same
    name but for that word), if there is one.

    Raises
    ------
    UserError
        If it is no labelled volume that says where it lies, or its partner does not fit it.
    """
    tptbox = params.mask_labels == "tptbox"
    if tptbox and "subreg" in source.path.name and _partner(source.path, "subreg", "vert"):
        return None
    values, affine, table = _load(source, source.path)
    if not values.any():
        return None
    partner = _partner(source.path, "vert", "subreg") if tptbox else None
    if partner:
        parts, other, _ = _load(source, partner)
        if parts.shape != values.shape or not np.allclose(other, affine, atol=1e-3):
            raise source.error(
                "a subreg mask on the grid of its vert mask",
                "one on another grid",
                "write both from the same image",
            )
        values = np.where(np.isin(parts, _BODY_PARTS), values, 0)
    return bodies(values, affine, _levels(source, values, table, params))


def _partner(path: Path, word: str, other: str) -> Path | None:
    partner = path.with_name(path.name.replace(word, other))
    return partner if partner != path and partner.exists() else None


def _load(source: Source, path: Path) -> tuple[NDArray[np.integer], Floats, dict[int, str]]:
    """Return labels, affine (LPS) and label table."""
    try:
        image: Any = nib.load(path)
        values = np.asanyarray(image.dataobj)
        sform, qform = int(image.header["sform_code"]), int(image.header["qform_code"])
    except (*_FAULTS, KeyError) as error:
        raise source.error(
            "a readable NIfTI volume", "something else", "export it again"
        ) from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.dtype.kind not in "iu":
        with np.errstate(invalid="ignore"):  # NaN is no label, as is found in the next line
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
    return values, _TO_LPS @ np.asarray(image.affine, dtype=float), _table(image)


def _table(image: Any) -> dict[int, str]:
    """Return the names of labels that stand in the header's extensions."""
    found: dict[int, str] = {}
    for extension in image.header.extensions:
        try:
            text = extension.content.strip(b"\0 \r\n")
            root = ET.fromstring(text)  # noqa: S314 - the user's own file; expat bounds entities
        except (ET.ParseError, AttributeError, TypeError):
            continue  # another program's extension
        for label in root.iter("Label"):
            key = label.get("Key", "")
            if key.isdecimal():
                found[int(key)] = (label.text or "").strip()
    return found


def _levels(
    source: Source, values: NDArray[np.integer], table: Mapping[int, str], params: Annotations
) -> dict[int, str]:
    """Return the level of each label, by the rule at the head of this module."""
    if isinstance(params.mask_labels, dict):
        return dict(params.mask_labels)
    stem = next(
        source.path.name[: -len(s)] for s in _SUFFIXES if source.path.name.lower().endswith(s)
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
