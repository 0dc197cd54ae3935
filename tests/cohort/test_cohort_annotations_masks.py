from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_annotations import TO_RAS, collected, write_nifti
from support.made_masks import Stack, joined, placed_at, rotation, turned, write_seg

from dsnet.errors import UserError
from dsnet.schemas import BOX

LABELS = {20: "L1", 21: "L2"}
COLUMNS = ["file_key", "level", *BOX, "area_mm2", "status"]


def boxes(folder: Path, stack: Stack, **params: Any) -> pd.DataFrame:
    table = collected(
        folder, stack.tables(), **{"mask_labels": LABELS, "min_area_mm2": 0, **params}
    )
    return table.sort_values(["file_key", "level"], ignore_index=True)


def axial(columns: int = 20, rows: int = 16, slices: int = 6, name: str = "S1") -> Stack:
    """Return a stack of 1 x 1 x 2 mm whose first voxel lies at 5, -7, 30 mm."""
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = 5, -7, 30
    return Stack(affine, (columns, rows, slices), name)


def block(shape: tuple[int, ...], label: int = 20) -> np.ndarray:
    values = np.zeros(shape, np.uint8)
    values[3:9, 4:7, 2:4] = label
    return values


def edges(table: pd.DataFrame) -> list[list[float]]:
    return table[list(BOX)].to_numpy().tolist()


def test_a_mask_on_the_grid_of_its_slices_gives_its_hull(tmp_path: Path) -> None:
    stack = axial()
    write_nifti(tmp_path / "mask.nii.gz", block(stack.shape), stack.affine)
    table = boxes(tmp_path, stack)
    assert list(table["file_key"]) == ["S1-2", "S1-3"]
    assert edges(table) == [[3, 4, 9, 7]] * 2
    assert list(table["area_mm2"]) == [18, 18]
    assert list(zip(table["row"], table["level"], strict=True)) == [(20, "L1")] * 2


def _section(turn: np.ndarray, radii: np.ndarray, centre: np.ndarray, plane: np.ndarray) -> Any:
    """Return the box, in column and row, of an ellipsoid's section; None where it has none."""
    into = (turn / radii).T
    across, start = into @ plane[:3, :2], into @ (plane[:3, 3] - centre)
    middle = -np.linalg.pinv(across) @ start
    left = 1 - np.sum((start + across @ middle) ** 2)
    if left < 0:
        return None
    half = np.sqrt(left * np.diag(np.linalg.inv(across.T @ across)))
    # Pixel i covers [i, i + 1), its centre is at i.
    return np.array([*(middle - half), *(middle + half)]) + 0.5


_ANGLES = st.tuples(*[st.floats(-180, 180)] * 3)
_SCENES = st.fixed_dictionaries(
    {
        "body_deg": _ANGLES,
        "mask_deg": _ANGLES,
        "slices_deg": _ANGLES,
        "mask_mm": st.tuples(*[st.floats(0.7, 1.6)] * 3),
        "gap_mm": st.floats(0.8, 4),
        "order": st.permutations(range(3)),
        "flips": st.integers(0, 7),
    }
)


@given(_SCENES)
@settings(deadline=None, max_examples=12, derandomize=True)
def test_an_ellipsoid_is_boxed_where_it_is(scene: dict[str, Any]) -> None:
    centre, radii = np.array([31.0, -12.0, 450.0]), np.array([9.0, 6.0, 12.0])
    body, shape = rotation(scene["body_deg"]), (44, 44, 44)
    grid = placed_at(scene["mask_deg"], scene["mask_mm"], shape, centre + np.array([1.3, -0.7, 0]))
    position = grid[:3, :3] @ np.indices(shape).reshape(3, -1) + grid[:3, 3:] - centre[:, None]
    inside = (((body / radii).T @ position) ** 2).sum(axis=0) <= 1
    values, affine = turned(
        inside.reshape(shape) * np.uint8(20), grid, scene["order"], scene["flips"]
    )
    deep = (70, 60, int(34 / scene["gap_mm"]))
    stack = Stack(placed_at(scene["slices_deg"], (0.6, 0.8, scene["gap_mm"]), deep, centre), deep)
    with TemporaryDirectory() as folder:
        write_nifti(Path(folder) / "mask.nii", values, affine)
        measured = boxes(Path(folder), stack).set_index("file_key")
    # The border of the nearest voxel is off by half its diagonal at most.
    slack = 0.6 * float(np.linalg.norm(scene["mask_mm"]))
    seen = 0
    for number in range(deep[2]):
        plane = stack.affine.copy()
        plane[:3, 3] += plane[:3, 2] * number
        least = _section(body, radii - slack, centre, plane)
        most = _section(body, radii + slack, centre, plane)
        if most is None:
            assert f"S1-{number}" not in measured.index
        elif least is not None:
            box = measured.loc[f"S1-{number}", list(BOX)].to_numpy(float)
            outward = np.array([-1, -1, 1, 1])
            assert (box * outward <= most * outward + 1).all()
            assert (box * outward >= least * outward - 1).all()
            seen += 1
    assert seen >= 2


@given(st.permutations(range(3)), st.integers(0, 7))
@settings(deadline=None, max_examples=8, derandomize=True)
def test_storage_does_not_matter_even_where_pixels_lie_on_borders(order: Any, flips: int) -> None:
    stack = axial()
    # Voxels of 2 x 2 x 4 mm: every second pixel and slice lies midway between two centres.
    affine = stack.affine @ np.diag([2, 2, 2, 1])
    values = np.zeros((10, 8, 3), np.uint8)
    values[2:5, 3, 1] = 20
    with TemporaryDirectory() as folder:
        write_nifti(Path(folder) / "mask.nii", *turned(values, affine, order, flips))
        table = boxes(Path(folder), stack)
    assert list(table["file_key"]) == ["S1-1", "S1-2"]
    assert edges(table) == [[3, 5, 9, 7]] * 2


@pytest.mark.parametrize(("step", "slices"), [(0.5, [2, 3]), (3, [2, 3, 4])])
def test_masks_thicker_and_thinner_than_slices(
    tmp_path: Path, step: float, slices: list[int]
) -> None:
    stack = axial(slices=12)
    affine = stack.affine @ np.diag([1, 1, step, 1])
    values = np.zeros((20, 16, 24), np.uint8)
    # From 3.5 to 6.5 mm, and from 3 to 9 mm, above the first slice; slices are 2 mm apart.
    values[3:9, 4:7, slice(4, 7) if step < 1 else slice(1, 2)] = 20
    write_nifti(tmp_path / "mask.nii", values, affine)
    cut = [int(key[3:]) for key in boxes(tmp_path, stack)["file_key"]]
    assert sorted(cut) == slices


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
@pytest.mark.parametrize("oblique", [False, True])
def test_a_segmentation_object_says_what_the_nifti_mask_says(
    tmp_path: Path, kind: str, *, oblique: bool
) -> None:
    angles_deg = (15, -20, 30) if oblique else (0, 0, 0)
    affine = placed_at(angles_deg, (0.8, 0.7, 2.5), (24, 20, 8), np.array([3, -90, 700.0]))
    stack = Stack(affine, (24, 20, 8))
    values = block(stack.shape)
    values[8:14, 9:18, 0:2] = 21
    write_nifti(tmp_path / "nifti" / "mask.nii.gz", values, affine)
    (tmp_path / "seg").mkdir()
    write_seg(tmp_path / "seg" / "IM1", stack, values, {20: "L1Vertebra", 21: "vertebrae_L2"}, kind)
    nifti, seg = boxes(tmp_path / "nifti", stack), boxes(tmp_path / "seg", stack, mask_labels=None)
    assert set(seg["format"]) == {"seg"}
    assert set(nifti["level"]) == {"L1", "L2"}
    pd.testing.assert_frame_equal(seg[COLUMNS], nifti[COLUMNS])
    both = boxes(tmp_path, stack)
    assert list(both["status"].value_counts()[["used", "merged"]]) == [len(nifti)] * 2


def test_small_parts_do_not_widen_a_box_and_slivers_are_listed(tmp_path: Path) -> None:
    stack = axial()
    values = block(stack.shape)
    values[15, 12, 2] = values[9, 7, 2] = 20  # alone, and touching the corner of the rest
    values[3:9, 4:7, 3] = 0
    values[3:5, 4:6, 3] = 20
    write_nifti(tmp_path / "mask.nii", values, stack.affine)
    table = boxes(tmp_path, stack, min_area_mm2=5)
    assert edges(table) == [[3, 4, 10, 8], [3, 4, 5, 6]]
    assert list(table["status"]) == ["used", "sliver"]
    assert list(table["area_mm2"]) == [19, 4]
    assert edges(boxes(tmp_path, stack))[0] == [3, 4, 16, 13]


def test_a_body_beside_the_slices_is_outside_and_a_whole_mask_an_error(tmp_path: Path) -> None:
    stack = axial(slices=5)
    values = block((20, 16, 9))
    values[3:9, 4:7, 7:9] = 21
    write_nifti(tmp_path / "mask.nii", values, stack.affine)
    assert list(boxes(tmp_path, stack)["status"]) == ["outside", "used", "used"]
    write_nifti(tmp_path / "mask.nii", np.where(values == 21, values, 0), stack.affine)
    with pytest.raises(UserError, match=r"annotations\[1\]: expected a mask that lies in one CT"):
        boxes(tmp_path, stack)
    reported = boxes(tmp_path, stack, unmatched="report")
    assert list(zip(reported["level"], reported["status"], strict=True)) == [("L2", "no_image")]


def test_labels_mean_what_preset_table_or_name_say(tmp_path: Path) -> None:
    stack, path = axial(), tmp_path / "mask.nii.gz"

    def levels(label: int, preset: Any, other: int = 0) -> set[str]:
        values = block(stack.shape, label)
        values[0, 0, 0] = other
        write_nifti(path, values, stack.affine)
        return set(boxes(tmp_path, stack, mask_labels=preset)["level"])

    assert levels(20, "verse") == {"L1"}
    assert levels(25, "tptbox") == {"L6"}
    assert levels(31, "totalsegmentator_v2") == {"L1"}
    assert levels(32, "totalsegmentator_v2") == {"T12"}
    assert levels(22, "totalsegmentator_v1") == {"L1"}
    assert levels(24, "totalsegmentator") == {"L5"}
    assert levels(31, "totalsegmentator", other=116) == {"L1"}
    assert levels(7, {7: "L4"}) == {"L4"}
    with pytest.raises(UserError, match=r"set annotations\.mask_labels to a preset or a map"):
        levels(20, None)
    with pytest.raises(UserError, match="expected a mask with a label of a vertebral body"):
        levels(7, "verse")
    path.unlink()
    path = tmp_path / "vertebrae_L3.nii.gz"
    assert levels(1, None) == {"L3"}
    assert levels(0, None) == set()


def test_a_cohort_without_ct_has_no_series_for_a_mask(tmp_path: Path) -> None:
    stack = axial()
    index, identities = stack.tables()
    write_nifti(tmp_path / "mask.nii", block(stack.shape), stack.affine)
    with pytest.raises(UserError, match="lies in 0 of 0"):
        collected(tmp_path, (index.assign(modality="MR"), identities), mask_labels=LABELS)


def test_a_label_table_in_the_header_is_read(tmp_path: Path) -> None:
    stack = axial()
    image = nib.Nifti1Image(block(stack.shape, 5), TO_RAS @ stack.affine)
    table = (
        b'<?xml version="1.0"?><C><Label Key="5">vertebrae_L2</Label><Label Key="1">a</Label></C>'
    )
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, table))
    nib.save(image, tmp_path / "mask.nii.gz")
    assert set(boxes(tmp_path, stack, mask_labels=None)["level"]) == {"L2"}
    assert set(boxes(tmp_path, stack, mask_labels="verse")["level"]) == {"L2"}
    assert set(boxes(tmp_path, stack, mask_labels={5: "T11"})["level"]) == {"T11"}


def test_tptbox_cuts_the_body_out_of_the_vertebra(tmp_path: Path) -> None:
    stack = axial()
    subregions = np.where(block(stack.shape) > 0, np.uint8(41), np.uint8(0))
    subregions[5:9, 4:7, 2] = 49
    subregions[5:9, 4:7, 3] = 50
    write_nifti(tmp_path / "sub-ct_seg-vert_msk.nii.gz", block(stack.shape), stack.affine)
    assert edges(boxes(tmp_path, stack, mask_labels="tptbox")) == [[3, 4, 9, 7]] * 2
    write_nifti(tmp_path / "sub-ct_seg-subreg_msk.nii.gz", subregions, stack.affine)
    assert edges(boxes(tmp_path, stack, mask_labels="tptbox")) == [[5, 4, 9, 7]] * 2
    write_nifti(tmp_path / "sub-ct_seg-subreg_msk.nii.gz", subregions[:-1], stack.affine)
    with pytest.raises(UserError, match="expected a subreg mask on the grid of its vert mask"):
        boxes(tmp_path, stack, mask_labels="tptbox")


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("A.nii", "A"),
        ("B_seg-vert.nii.gz", "B"),
        ("1.2.826.65.nii.gz", "A"),
        ("1.2.826.66-mask.nii", "B"),
        ("B/segmentations/mask.nii.gz", "B"),
        ("masks/1.2.826.65/m.nii", "A"),
        ("mask.nii", ""),
    ],
)
def test_a_mask_belongs_to_the_series_that_its_path_names(
    tmp_path: Path, name: str, series: str
) -> None:
    stack = axial(name="A")
    both = joined(stack, axial(name="B"))
    write_nifti(tmp_path / name, block(stack.shape), stack.affine)
    params: Any = {"mask_labels": LABELS, "min_area_mm2": 0}
    if series:
        table = collected(tmp_path, both, **params)
        assert list(table["file_key"]) == [f"{series}-2", f"{series}-3"]
        return
    with pytest.raises(UserError, match=r"found one that lies in 2 of 2 that it may belong to;"):
        collected(tmp_path, both, **params)
    table = collected(tmp_path, both, unmatched="report", **params)
    assert list(table["status"]) == ["ambiguous"]


def test_space_tells_series_apart_and_references_go_first(tmp_path: Path) -> None:
    near, far = axial(name="A"), axial(name="B")
    far.affine[2, 3] += 500
    both = joined(near, far)
    write_nifti(tmp_path / "mask.nii", block(far.shape), far.affine)
    assert set(collected(tmp_path, both, mask_labels=LABELS, min_area_mm2=0)["file_key"]) == {
        "B-2",
        "B-3",
    }
    (tmp_path / "mask.nii").unlink()
    write_seg(tmp_path / "A.dcm", far, block(far.shape), {20: "L1"})
    assert set(collected(tmp_path, both, min_area_mm2=0)["file_key"]) == {"B-2", "B-3"}
    with pytest.raises(
        UserError, match="a mask of a patient and series in dicom/, but found one that names others"
    ):
        collected(tmp_path, near.tables(), min_area_mm2=0)


@pytest.mark.parametrize(
    ("values", "codes", "sentence"),
    [
        (np.full((4, 4, 4), 0.5, np.float32), 1, "whole numbers, but found fractions"),
        (np.full((4, 4, 4), np.nan), 1, "whole numbers, but found fractions"),
        (np.zeros((4, 4), np.uint8), 1, "whole numbers, but found 2 axes"),
        (np.ones((4, 4, 4), np.uint8), 0, "a header that says where the mask lies"),
    ],
)
def test_a_volume_that_is_no_mask_stops(
    tmp_path: Path, values: np.ndarray, codes: int, sentence: str
) -> None:
    image = nib.Nifti1Image(values, np.eye(4))
    image.set_sform(np.eye(4), code=codes)
    image.set_qform(np.eye(4), code=codes)
    nib.save(image, tmp_path / "mask.nii")
    with pytest.raises(UserError, match=sentence):
        boxes(tmp_path, axial())


def test_images_without_a_place_get_no_box_from_a_mask(tmp_path: Path) -> None:
    stack = axial()
    index, identities = stack.tables()
    identities.loc[2, "plane"] = ""
    index.loc[3, "image_kind"] = "localizer"
    write_nifti(tmp_path / "mask.nii", block(stack.shape), stack.affine)
    with pytest.raises(UserError, match="a mask that shows on a slice of its series"):
        collected(tmp_path, (index, identities), mask_labels=LABELS, min_area_mm2=0)
    index.loc[3, "image_kind"] = "original"
    table = collected(tmp_path, (index, identities), mask_labels=LABELS, min_area_mm2=0)
    assert list(table["file_key"]) == ["S1-3"]


def seg(path: Path, stack: Stack, values: np.ndarray, names: dict[int, str], **header: str) -> None:
    write_seg(path, stack, values, names)
    dataset = pydicom.dcmread(path)
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_frames_apart_count_on_the_image_that_each_names(tmp_path: Path) -> None:
    stack = axial(slices=40)
    values = np.zeros(stack.shape, np.uint8)
    for number, label in ((37, 20), (20, 21), (5, 22)):
        values[3:9, 4:7, number] = label
    names = {20: "L1", 21: "L2", 22: "L3"}
    write_seg(tmp_path / "seg.dcm", stack, values, names)
    table = boxes(tmp_path, stack, mask_labels=None)
    assert list(zip(table["file_key"], table["level"], strict=True)) == [
        ("S1-20", "L2"),
        ("S1-37", "L1"),
        ("S1-5", "L3"),
    ]
    assert edges(table) == [[3, 4, 9, 7]] * 3
    # Evenly spaced, they must not become slabs as thick as their distance.
    values[..., 35] = values[..., 37]
    values[..., 37] = 0
    write_seg(tmp_path / "seg.dcm", stack, values, names)
    assert len(boxes(tmp_path, stack, mask_labels=None)) == 3


def test_frames_without_images_are_a_volume(tmp_path: Path) -> None:
    stack = axial()
    write_seg(tmp_path / "seg.dcm", stack, block(stack.shape), {20: "L1"})
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.DerivationImageSequence = []
    dataset.save_as(tmp_path / "seg.dcm")
    assert edges(boxes(tmp_path, stack)) == [[3, 4, 9, 7]] * 2


def test_a_segmentation_of_another_patient_has_no_image(tmp_path: Path) -> None:
    stack = axial()
    for patient, status in (("007", "used"), ("008", "no_image"), ("", "used")):
        seg(tmp_path / "seg.dcm", stack, block(stack.shape), {20: "L1"}, PatientID=patient)
        assert set(boxes(tmp_path, stack, unmatched="report")["status"]) == {status}


def test_a_mask_with_a_name_that_fits_nothing_has_no_image(tmp_path: Path) -> None:
    stack = axial()
    for name, status in (
        ("P2.nii.gz", "no_image"),
        ("P2/mask.nii.gz", "no_image"),
        ("007.nii.gz", "used"),
        ("007/mask.nii.gz", "used"),
        ("masks/vertebrae_L1.nii.gz", "used"),
    ):
        write_nifti(tmp_path / name, block(stack.shape), stack.affine)
        assert set(boxes(tmp_path, stack, unmatched="report")["status"]) == {status}
        (tmp_path / name).unlink()
    write_nifti(tmp_path / "P2.nii.gz", block(stack.shape), stack.affine)
    with pytest.raises(UserError, match="expected a mask of a patient and series in dicom/, but"):
        boxes(tmp_path, stack)


def test_one_series_uid_of_two_patients_is_two_series(tmp_path: Path) -> None:
    index, identities = joined(axial(name="A"), axial(name="B"))
    index["series_key"], identities["series_instance_uid"] = "S", "1.2.3"
    identities["patient_id"] = ["007"] * 6 + ["008"] * 6
    params: Any = {"mask_labels": LABELS, "min_area_mm2": 0, "unmatched": "report"}
    for name, found in (("1.2.3", {"ambiguous"}), ("008", {"used"}), ("B", {"used"})):
        write_nifti(tmp_path / f"{name}.nii", block((20, 16, 6)), axial().affine)
        table = collected(tmp_path, (index, identities), **params)
        assert set(table["status"]) == found
        if found == {"used"}:
            assert list(table["file_key"]) == ["B-2", "B-3"]
        (tmp_path / f"{name}.nii").unlink()


@pytest.mark.parametrize(("moved_mm", "stops"), [(0.9, False), (3.0, True)])
def test_two_affines_that_disagree_stop(tmp_path: Path, moved_mm: float, *, stops: bool) -> None:
    stack = axial()
    affine = TO_RAS @ stack.affine
    image = nib.Nifti1Image(block(stack.shape), affine)
    image.set_sform(affine, code=2)
    other = affine.copy()
    other[0, 3] -= moved_mm
    image.set_qform(other, code=1)
    nib.save(image, tmp_path / "mask.nii")
    assert edges(boxes(tmp_path, stack, affine="sform")) == [[3, 4, 9, 7]] * 2
    if not stops:
        assert len(boxes(tmp_path, stack)) == 2
        return
    assert edges(boxes(tmp_path, stack, affine="qform")) == [[6, 4, 12, 7]] * 2
    with pytest.raises(UserError, match=r"two that differ by 3\.0 voxels; set annotations\.affine"):
        boxes(tmp_path, stack)
    image.set_sform(affine, code=0)
    nib.save(image, tmp_path / "mask.nii")
    assert edges(boxes(tmp_path, stack, affine="sform")) == [[6, 4, 12, 7]] * 2


ORGANS_V2 = (1, 5, 20, 52, 79, 86, 87)


@pytest.mark.parametrize(
    ("present", "version"),
    [
        ({31, *ORGANS_V2}, 2),
        ({29, 30, 31, 32, 33, *ORGANS_V2, 110}, 2),
        (set(range(27, 32)), 2),
        ({1, 20, *range(27, 32)}, 2),
        (set(range(1, 118)), 2),
        ({1, 23, 28, 29, 30, 31}, None),
        ({28, 29, 30, 31}, None),
        (set(range(23, 35)) | {42, 43, 100, 101}, None),
        (set(range(1, 105)), None),
        (set(range(25, 35)), None),
    ],
)
def test_totalsegmentators_version_follows_from_its_labels_or_is_asked_for(
    tmp_path: Path, present: set[int], version: int | None
) -> None:
    stack = axial(slices=12)
    values = np.zeros(stack.shape, np.uint8)
    values[3:9, 4:7, 5] = 31
    values.reshape(-1)[: len(present)] = sorted(present)
    write_nifti(tmp_path / "mask.nii", values, stack.affine)
    params: Any = {"mask_labels": "totalsegmentator", "min_area_mm2": 15}
    if version is None:
        with pytest.raises(UserError, match="totalsegmentator_v1 or totalsegmentator_v2"):
            boxes(tmp_path, stack, **params)
        params["mask_labels"] = "totalsegmentator_v1"
        (used,) = boxes(tmp_path, stack, **params).query("status == 'used'")["level"]
        assert used == "T4"
    else:
        (used,) = boxes(tmp_path, stack, **params).query("status == 'used'")["level"]
        assert used == "L1"


def test_labels_beyond_verses_are_no_verse(tmp_path: Path) -> None:
    stack = axial()
    values = block(stack.shape)
    values[0, 0, 0] = 117
    write_nifti(tmp_path / "mask.nii", values, stack.affine)
    with pytest.raises(UserError, match="VerSe's labels, which end at 28, but found labels up to"):
        boxes(tmp_path, stack, mask_labels="verse")


def test_a_mask_may_hold_the_whole_vertebra_but_no_other_organ(tmp_path: Path) -> None:
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    stack = Stack(affine, (60, 40, 6))
    for columns, status in ((25, "used"), (50, "implausible")):
        values = np.zeros(stack.shape, np.uint8)
        values[2 : 2 + columns, 4:20, 2:4] = 20
        write_nifti(tmp_path / "mask.nii", values, affine)
        table = boxes(tmp_path, stack, implausible="report", edge_mm=(15, 90))
        assert set(table["status"]) == {status}


@pytest.mark.parametrize(
    ("shape", "dtype", "sentence"),
    [
        ((32767, 32767, 32767), np.int16, "a mask of at most 536,870,912 voxels"),
        ((1024, 1024, 1024), np.int16, "a mask of at most 536,870,912 voxels"),
        ((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")], "whole numbers, but found colours"),
        ((4, 4, 4), np.complex64, "whole numbers, but found colours or complex numbers"),
    ],
)
def test_a_volume_that_no_mask_can_be_is_not_read(
    tmp_path: Path, shape: tuple[int, ...], dtype: Any, sentence: str
) -> None:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape(shape)
    header.set_sform(np.eye(4), code=1)
    header["vox_offset"] = 352
    data = b"\0" * (64 * 8 if shape[0] == 4 else 0)
    (tmp_path / "mask.nii").write_bytes(header.binaryblock + b"\0" * 4 + data)
    with pytest.raises(UserError, match=sentence):
        boxes(tmp_path, axial())


@pytest.mark.parametrize("flat", [np.diag([1.0, 1, 0, 1]), np.diag([1.0, np.nan, 1, 1])])
def test_an_affine_without_three_axes_stops(tmp_path: Path, flat: np.ndarray) -> None:
    write_nifti(tmp_path / "mask.nii", block((20, 16, 6)), np.eye(4))
    content = bytearray((tmp_path / "mask.nii").read_bytes())
    content[280:328] = flat[:3].astype("<f4").tobytes()  # srow_x, srow_y and srow_z
    (tmp_path / "mask.nii").write_bytes(content)
    with pytest.raises(UserError, match="expected an affine of three axes, but found a flat one"):
        boxes(tmp_path, axial())
