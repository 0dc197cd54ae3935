from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsnet.dicom import reader
from dsnet.dicom.pixels import Thresholds
from dsnet.slices.image import ImageError, read_hu, render

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


def test_air_has_no_body() -> None:
    with pytest.raises(ImageError) as caught:
        render(np.full((40, 40), -1000.0), (1.0, 1.0), 32, 1.0)
    assert caught.value.fault == "no_body"


def fault_of(path: Path, pixel_hash: str) -> str:
    with pytest.raises(ImageError) as caught:
        read_hu(str(path), pixel_hash)
    return caught.value.fault
