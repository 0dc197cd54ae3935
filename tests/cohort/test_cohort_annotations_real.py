"""Masks of real CT against independent ways to the same boxes; skipped where the data are not."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to
from support.made_annotations import TO_RAS, collected
from support.made_masks import Stack, turned, write_seg

from dsnet.schemas import BOX

REAL = Path(__file__).parents[3] / "shared" / "real"
TOTAL, TPTBOX = REAL / "totalsegmentator", REAL / "tptbox"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="the real scans of ../shared are absent")

Hulls = dict[tuple[str, str], list[float]]


def hulls(values: np.ndarray, levels: dict[int, str]) -> Hulls:
    """Return the hull of each label on each slice of (columns, rows, slices)."""
    edges: Hulls = {}
    for number in range(values.shape[2]):
        for label, level in levels.items():
            columns, rows = np.nonzero(values[:, :, number] == label)
            if len(columns):
                hull = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                edges[f"S1-{number}", level] = [float(edge) for edge in hull]
    return edges


def boxes(folder: Path, stack: Stack, **params: Any) -> Hulls:
    table = collected(folder, stack.tables(), min_area_mm2=0, **params)
    assert set(table["status"]) == {"used"}
    keys = zip(table["file_key"], table["level"], strict=True)
    return dict(zip(keys, table[list(BOX)].to_numpy().tolist(), strict=True))


def test_totalsegmentator_as_nifti_and_as_seg(tmp_path: Path) -> None:
    levels = {19: "T12", **{19 + n: f"L{n}" for n in range(1, 6)}}
    image = nib.load(TOTAL / "vertebrae_bodies.nii.gz")
    # DICOM's slices: columns to the left, rows to the back, slices to the head.
    values, affine = turned(np.asanyarray(image.dataobj), TO_RAS @ image.affine, (0, 1, 2), 3)
    stack = Stack(affine, values.shape)
    (tmp_path / "nifti").mkdir()
    (tmp_path / "nifti" / "mask.nii.gz").symlink_to(TOTAL / "vertebrae_bodies.nii.gz")
    (tmp_path / "seg").mkdir()
    names = {label: f"vertebrae_{level}" for label, level in levels.items()}
    write_seg(tmp_path / "seg" / "seg.dcm", stack, values, names)
    expected = hulls(values, levels)
    assert len(expected) == 66
    assert boxes(tmp_path / "nifti", stack) == expected
    assert boxes(tmp_path / "nifti", stack, mask_labels="totalsegmentator") == expected
    assert boxes(tmp_path / "seg", stack) == expected


def test_tptbox_on_axial_slices_of_another_grid(tmp_path: Path) -> None:
    vert = nib.load(TPTBOX / "sub-ct_seg-vert_label-22_msk.nii.gz")
    subreg = nib.load(TPTBOX / "sub-ct_seg-subreg_label-22_msk.nii.gz")
    assert nib.aff2axcodes(vert.affine) == ("P", "I", "R")
    affine = np.diag([0.83, 0.77, 1.9, 1.0])
    affine[:3, 3] = -29.6, 135.2, -103.1
    stack = Stack(affine, (126, 137, 35))
    grid = stack.shape, TO_RAS @ affine
    resampled = [resample_from_to(mask, grid, order=0, cval=0) for mask in (vert, subreg)]
    bodies, subregions = (np.asanyarray(image.dataobj) for image in resampled)
    for path in TPTBOX.glob("*_msk.nii.gz"):
        (tmp_path / path.name).symlink_to(path)
    expected = hulls(np.where(subregions >= 49, bodies, 0), {21: "L2", 22: "L3", 23: "L4"})
    assert len(expected) == 31
    assert boxes(tmp_path, stack, mask_labels="tptbox") == expected
