import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dsnet.slices.body import body_centre_mm


def ellipse(
    shape: tuple[int, int],
    spacing_mm: tuple[float, float],
    centre_mm: tuple[float, float],
    half_mm: tuple[float, float],
) -> NDArray[np.float64]:
    y_mm = (np.arange(shape[0])[:, None] + 0.5) * spacing_mm[0]
    x_mm = (np.arange(shape[1])[None, :] + 0.5) * spacing_mm[1]
    far = ((x_mm - centre_mm[0]) / half_mm[0]) ** 2 + ((y_mm - centre_mm[1]) / half_mm[1]) ** 2
    return np.where(far <= 1, 40.0, -1000.0)


@settings(max_examples=30, deadline=None)
@given(
    spacing_mm=st.tuples(st.floats(1.0, 2.0), st.floats(1.0, 2.0)),
    centre_mm=st.tuples(st.floats(180.0, 210.0), st.floats(150.0, 180.0)),
)
def test_finds_the_middle_at_any_spacing(
    spacing_mm: tuple[float, float], centre_mm: tuple[float, float]
) -> None:
    shape = (round(340 / spacing_mm[0]), round(400 / spacing_mm[1]))
    hu = ellipse(shape, spacing_mm, centre_mm, (160.0, 110.0))
    assert body_centre_mm(hu, spacing_mm) == pytest.approx(centre_mm, abs=max(spacing_mm))


@pytest.fixture
def body() -> NDArray[np.float64]:
    return ellipse((256, 256), (1.5, 1.5), (192.0, 170.0), (150.0, 100.0))


def centre_of(hu: NDArray[np.float64]) -> tuple[float, float]:
    centre = body_centre_mm(hu, (1.5, 1.5))
    assert centre is not None
    return centre


def test_couch_and_arm_do_not_count(body: NDArray[np.float64]) -> None:
    expected = centre_of(body)
    body[180:183, 20:240] = 80.0  # the shell of a couch, touching the back
    body[80:120, 2:22] = 40.0  # an arm
    # Where it touches, the shell is one with the back: half its 4.5 mm remain.
    assert centre_of(body) == pytest.approx(expected, abs=2.25)


def test_gas_does_not_count(body: NDArray[np.float64]) -> None:
    expected = centre_of(body)
    body[60:100, 60:120] = -1000.0
    assert centre_of(body) == expected


def test_a_body_larger_than_the_image_is_centred_on_the_image() -> None:
    assert body_centre_mm(np.full((200, 160), 30.0), (0.5, 0.8)) == (64.0, 50.0)


def test_air_and_specks_have_no_body() -> None:
    hu = np.full((64, 64), -1000.0)
    assert body_centre_mm(hu, (1.0, 1.0)) is None
    hu[10, 10] = 2000.0
    assert body_centre_mm(hu, (1.0, 1.0)) is None
