from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from dsnet.config.cohort import Slices
from dsnet.dicom import reader
from dsnet.dicom.evidence import Thresholds
from dsnet.slices.image import ImageError, Task, bone_fraction, read_hu, render, store_image

WriteCt = Callable[..., Path]


def seen(path: Path) -> str:
    evidence = reader.read(str(path), Thresholds(2500, 1500)).evidence
    assert evidence is not None
    return evidence.pixel_hash


def test_rescale_spacing_and_floor(tmp_path: Path, write_ct: WriteCt) -> None:
    stored = np.array([[0, 100, 2000], [50, 1200, 4095]], np.uint16)
    path = write_ct(tmp_path / "im", stored, RescaleSlope=2, RescaleIntercept=-1100)
    hu, spacing_mm = read_hu(str(path), seen(path))
    np.testing.assert_array_equal(hu, [[-1024, -900, 2900], [-1000, 1300, 7090]])
    assert spacing_mm == (2.0, 2.5)


def test_signed_values_and_padding_range(tmp_path: Path, write_ct: WriteCt) -> None:
    stored = np.array([[-2000, -1024, 5], [3000, 3005, 3010]], np.int16)
    path = write_ct(
        tmp_path / "im",
        stored,
        RescaleIntercept=0,
        PixelPaddingValue=3000,
        PixelPaddingRangeLimit=3005,
    )
    hu, _ = read_hu(str(path), seen(path))
    np.testing.assert_array_equal(hu, [[-1024, -1024, 5], [-1024, -1024, 3010]])


def test_a_file_that_vanished_or_changed(tmp_path: Path, write_ct: WriteCt) -> None:
    stored = np.full((8, 8), 1000, np.uint16)
    path = write_ct(tmp_path / "im", stored)
    before = seen(path)
    stored[3, 3] += 1
    write_ct(path, stored)
    assert fault_of(path, before) == "changed"
    path.write_bytes(path.read_bytes()[:-20])
    assert fault_of(path, before) == "changed"
    path.write_text("no DICOM at all", encoding="utf-8")
    assert fault_of(path, before) == "changed"
    path.unlink()
    assert fault_of(path, before) == "gone"


@pytest.mark.parametrize("elements", [{"PixelSpacing": None}, {"RescaleSlope": None}])
def test_what_has_no_scale_is_unusable(
    tmp_path: Path, write_ct: WriteCt, elements: dict[str, Any]
) -> None:
    path = write_ct(tmp_path / "im", np.full((8, 8), 1000, np.uint16), **elements)
    assert fault_of(path, seen(path)) == "unusable"


DIRECTIONS = {"L": [1, 0, 0], "R": [-1, 0, 0], "P": [0, 1, 0], "A": [0, -1, 0]}


@pytest.mark.parametrize("orientation", ["LP", "RA", "RP", "LA", "PL", "PR", "AL", "AR"])
def test_an_image_turned_by_its_header_gives_the_same_grid(
    tmp_path: Path, write_ct: WriteCt, orientation: str
) -> None:
    rng = np.random.default_rng(0)
    standard = np.zeros((60, 50), np.uint16)
    standard[10:50, 6:44] = rng.integers(1000, 1100, (40, 38))
    standard[20:31, 15:24] = 1500
    box, store = (15.0, 20.0, 24.0, 31.0), tmp_path / "store.npy"
    np.lib.format.open_memmap(store, "w+", np.int16, (2, 32, 32)).flush()
    # The same slice as a scanner writes it under this orientation.
    stored, spacing_mm, turned_box = standard, [2.0, 2.5], box
    if "R" in orientation:
        stored = stored[:, ::-1]
        turned_box = (50 - turned_box[2], turned_box[1], 50 - turned_box[0], turned_box[3])
    if "A" in orientation:
        stored = stored[::-1]
        turned_box = (turned_box[0], 60 - turned_box[3], turned_box[2], 60 - turned_box[1])
    if orientation[0] in "AP":
        stored, spacing_mm = stored.T, spacing_mm[::-1]
        turned_box = (turned_box[1], turned_box[0], turned_box[3], turned_box[2])
    boxes = []
    for row, (letters, pixels, spacing, edges) in enumerate(
        [("LP", standard, [2.0, 2.5], box), (orientation, stored, spacing_mm, turned_box)]
    ):
        path = write_ct(
            tmp_path / str(row),
            np.ascontiguousarray(pixels),
            PixelSpacing=spacing,
            ImageOrientationPatient=DIRECTIONS[letters[0]] + DIRECTIONS[letters[1]],
        )
        facts = reader.read(str(path), Thresholds(2500, 1500))
        assert facts.header is not None
        assert facts.header.orientation == letters
        task = Task(row, "F", str(path), seen(path), facts.header.orientation, (edges,))
        outcome = store_image(task, store, 32, 4.0, 130.0)
        assert (outcome.fault, outcome.bone) == ("", (1.0,))
        boxes.append(outcome.boxes)
    images = np.load(store)
    assert images[0].max() > 300
    np.testing.assert_array_equal(images[1], images[0])
    assert boxes[1] == boxes[0]


def test_air_has_no_body() -> None:
    with pytest.raises(ImageError) as caught:
        render(np.full((40, 40), -1000.0), (1.0, 1.0), 32, 1.0)
    assert caught.value.fault == "no_body"


def fault_of(path: Path, pixel_hash: str) -> str:
    with pytest.raises(ImageError) as caught:
        read_hu(str(path), pixel_hash)
    return caught.value.fault


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((1.0, 0.0, 3.0, 2.0), 4),
        ((1.4, 0.4, 2.6, 1.6), 4),
        ((1.5, 0.0, 2.5, 1.0), 1),
        ((1.51, 0.0, 2.5, 1.0), 1),
        ((1.6, 0.6, 1.9, 0.9), 1),
        ((0.0, 0.0, 4.0, 3.0), 12),
    ],
)
def test_a_pixel_is_in_a_box_if_its_centre_is(box: Any, pixels: int) -> None:
    hu = np.zeros((3, 4))
    hu[0, 1] = 130.0
    assert bone_fraction(hu, box, 130.0) == pytest.approx(1 / pixels)
    assert bone_fraction(hu, box, 130.1) == 0.0


def made_slice(trabecular_hu: float, cortex_mm: float) -> tuple[NDArray[Any], Any]:
    """Return noisy muscle with a blurred vertebral body, and the box of the latter."""
    y_mm, x_mm = (np.mgrid[:200, :200] + 0.5) * 0.8
    far = np.hypot((x_mm - 80) / 23, (y_mm - 110) / 17)
    hu = np.where(far <= 1, 400.0, 50.0)
    hu[np.hypot((x_mm - 80) / (23 - cortex_mm), (y_mm - 110) / (17 - cortex_mm)) <= 1] = (
        trabecular_hu
    )
    hu = ndimage.gaussian_filter(hu, 0.8) + np.random.default_rng(0).normal(0, 25, hu.shape)
    return hu, ((80 - 23) / 0.8, (110 - 17) / 0.8, (80 + 23) / 0.8, (110 + 17) / 0.8)


@pytest.mark.parametrize("trabecular_hu", [-20.0, 20.0, 60.0, 110.0, 180.0])
def test_no_bone_density_is_too_little_bone_for_a_vertebral_body(trabecular_hu: float) -> None:
    params = Slices()
    hu, box = made_slice(trabecular_hu, cortex_mm=1.0)
    assert bone_fraction(hu, box, params.bone_hu) > 2 * params.min_bone_fraction
    # On the picture upside down it lies on what is in front of the spine.
    moved = box[0], len(hu) - box[3], box[2], len(hu) - box[1]
    above = moved[0], moved[1] - 25, moved[2], moved[3] - 25
    assert bone_fraction(hu, above, params.bone_hu) < params.min_bone_fraction / 2
