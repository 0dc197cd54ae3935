import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from dsnet.deidentify import pixel_data
from dsnet.deidentify.pixel_data import has_letters_outside_body, ocr_engine, shows_text
from dsnet.errors import UserError


def body(px: int = 256) -> np.ndarray:
    """Return a body on a table, with noise and a tube beside it."""
    y, x = np.mgrid[:px, :px] / px
    hu = np.random.default_rng(px).normal(-1000, 12, (px, px))
    hu[((x - 0.5) / 0.38) ** 2 + ((y - 0.5) / 0.26) ** 2 < 1] = 40
    hu[((x - 0.5) / 0.05) ** 2 + ((y - 0.62) / 0.05) ** 2 < 1] = 500
    hu[(abs(y - 0.83) < 0.008) & (abs(x - 0.5) < 0.4)] = -150
    hu[((x - 0.1) ** 2 + (y - 0.9) ** 2) < 0.0006] = 100
    return hu


def write(hu: np.ndarray, text: str, at: tuple[int, int], size: int, value: float) -> np.ndarray:
    image = Image.new("L", hu.shape[::-1], 0)
    ImageDraw.Draw(image).text(at, text, font=ImageFont.load_default(size), fill=255)
    return np.where(np.asarray(image) > 90, value, hu)


@pytest.mark.parametrize("px", [128, 256, 512])
def test_a_slice_without_letters(px: int) -> None:
    assert not has_letters_outside_body(body(px))


@pytest.mark.parametrize("size", [8, 10, 12, 16, 24])
@pytest.mark.parametrize("value", [0, 300, 3071])
def test_letters_beside_the_body(size: int, value: float) -> None:
    hu = write(body(512), "THORNABEE GRETA 1950", (6, 6), size, value)
    assert has_letters_outside_body(hu)


def test_letters_without_a_body_and_at_the_lower_edge() -> None:
    blank = np.full((256, 256), -1000.0)
    assert has_letters_outside_body(write(blank, "Greta Thornabee", (40, 230), 14, 1000))
    assert not has_letters_outside_body(blank)


@pytest.mark.parametrize("text", ["L", "R A", "12"])
def test_marks_of_a_side_are_no_letters(text: str) -> None:
    assert not has_letters_outside_body(write(body(), text, (6, 6), 14, 1000))


def test_specks_and_lines_are_no_letters() -> None:
    hu = body()
    hu[10, 10:200:4] = hu[20:22, 10:200] = 1000
    hu[30:80, 5:8] = 1000
    assert not has_letters_outside_body(hu)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Replace the OCR by one that reads what a test says; return the images that it is given."""
    seen: list[np.ndarray] = []

    def read(image: np.ndarray, *, use_cls: bool) -> SimpleNamespace:
        seen.append(image)
        assert not use_cls
        line = np.array([[0, 0], [90, 0], [90, 12], [0, 12]], float)
        whole = np.array([[0, 0], [340, 0], [340, 500], [0, 500]], float)
        return SimpleNamespace(
            txts=("L", "GRETA", "??", "1:08"),
            scores=(0.9, 0.8, 0.2, 0.9),
            boxes=np.array([line, line, line, whole]),
        )

    monkeypatch.setattr(pixel_data, "ocr_engine", lambda: read)
    return seen


def test_ocr_counts_letters_of_a_likely_size_that_it_is_sure_of(
    engine: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shows_text(body(128))
    assert engine[0].shape == (512, 512, 3)
    assert engine[0].dtype == np.uint8
    monkeypatch.setattr(pixel_data, "_OCR_LETTERS", 7)
    assert not shows_text(body(128))


def test_ocr_that_is_not_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    ocr_engine.cache_clear()
    with pytest.raises(UserError, match="extra ocr"):
        ocr_engine()


def test_ocr_reads_names_over_the_body() -> None:
    pytest.importorskip("rapidocr")
    ocr_engine.cache_clear()
    assert shows_text(write(body(256), "THORNABEE GRETA", (90, 120), 14, 2000))
    assert not shows_text(body(256))
