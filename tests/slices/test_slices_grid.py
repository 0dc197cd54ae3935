import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from dsnet.slices import AIR_HU
from dsnet.slices.image import Axis, Grid, Turn, _opened, body_centre_mm

SPACING = st.floats(0.2, 3.0)
AXES = st.builds(
    Axis.around,
    centre_mm=st.floats(-50.0, 600.0),
    length_px=st.integers(1, 1024),
    spacing_mm=SPACING,
    size_px=st.integers(32, 512),
    pixel_mm=SPACING,
)


@settings(max_examples=50, deadline=None)
@given(AXES, st.floats(-100.0, 2000.0))
def test_edges_round_trip(axis: Axis, edge: float) -> None:
    assert axis.to_image(axis.to_grid(edge)) == pytest.approx(edge, abs=1e-6)
    assert axis.to_grid(axis.to_image(edge)) == pytest.approx(edge, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(AXES, st.floats(0.0, 1000.0), st.floats(0.0, 50.0))
def test_lengths_keep_their_millimetres(axis: Axis, edge: float, length: float) -> None:
    on_grid = (axis.to_grid(edge + length) - axis.to_grid(edge)) * axis.pixel_mm
    assert on_grid == pytest.approx(length * axis.spacing_mm, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 500.0), SPACING, st.integers(32, 256), SPACING)
def test_the_middle_of_the_grid_is_the_centre(
    centre_mm: float, spacing_mm: float, size_px: int, pixel_mm: float
) -> None:
    axis = Axis.around(centre_mm, 256, spacing_mm, size_px, pixel_mm)
    middle_mm = axis.to_image(size_px / 2) * spacing_mm
    assert abs(middle_mm - centre_mm) <= spacing_mm / 2 + 1e-6


@settings(max_examples=30, deadline=None)
@given(
    spacing_mm=st.tuples(st.floats(0.4, 2.0), st.floats(0.4, 2.0)),
    pixel_mm=st.floats(0.5, 2.0),
    corner=st.tuples(st.integers(60, 90), st.integers(60, 90)),
    sides=st.tuples(st.integers(12, 40), st.integers(12, 40)),
)
def test_a_marker_lands_in_its_mapped_box(
    spacing_mm: tuple[float, float],
    pixel_mm: float,
    corner: tuple[int, int],
    sides: tuple[int, int],
) -> None:
    (x, y), (width, height) = corner, sides
    hu = np.zeros((200, 180))
    hu[y : y + height, x : x + width] = 1000.0
    centre_mm = (90 * spacing_mm[1], 95 * spacing_mm[0])
    grid = Grid.around(centre_mm, (200, 180), spacing_mm, 400, pixel_mm)
    box = grid.box_to_grid((x, y, x + width, y + height))
    rows, columns = np.nonzero(grid.resample(hu) > 500)
    marker = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert marker == pytest.approx(box, abs=1.0)


def test_box_to_image_undoes_box_to_grid() -> None:
    grid = Grid.around((120.0, 131.0), (256, 300), (0.7, 0.9), 128, 1.5)
    box = (100.0, 90.5, 140.0, 131.0)
    assert grid.box_to_image(grid.box_to_grid(box)) == pytest.approx(box, abs=1e-9)


TURNS = [Turn(*flags) for flags in itertools.product([False, True], repeat=3)]


@pytest.mark.parametrize("turn", TURNS)
def test_a_box_turns_with_its_image(turn: Turn) -> None:
    image = np.zeros((30, 40))
    image[4:9, 11:25] = 1
    turned = turn.image(image)
    rows, columns = np.nonzero(turned)
    box = (11.0, 4.0, 25.0, 9.0)
    around = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert turn.box(box, turned.shape) == around
    assert turn.box_back(around, turned.shape) == box
    assert turn.spacing((0.7, 0.9)) == ((0.9, 0.7) if turn.transposed else (0.7, 0.9))
    grid = Grid.around((20.0, 14.0), turned.shape, (0.7, 0.9), 64, 1.5, turn=turn)
    assert grid.box_to_image(grid.box_to_grid(box)) == pytest.approx(box, abs=1e-9)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        ("LP", Turn()),
        ("RA", Turn(x_reversed=True, y_reversed=True)),
        ("RP", Turn(x_reversed=True)),
        ("LA", Turn(y_reversed=True)),
        ("PL", Turn(transposed=True)),
        ("PR", Turn(transposed=True, x_reversed=True)),
        ("AL", Turn(transposed=True, y_reversed=True)),
        ("AR", Turn(transposed=True, x_reversed=True, y_reversed=True)),
        ("", Turn()),
        ("LF", Turn()),
        ("PH", Turn()),
    ],
)
def test_every_orientation_has_its_turn(orientation: str, turn: Turn) -> None:
    assert Turn.of(orientation) == turn


@pytest.mark.parametrize("size_px", [32, 33])
def test_equal_spacings_copy_values(size_px: int) -> None:
    hu = np.random.default_rng(0).integers(-1024, 3000, (64, 80)).astype(float)
    grid = Grid.around((55.3, 47.9), hu.shape, (1.5, 1.5), size_px, 1.5)
    y, x = grid.y.origin_px, grid.x.origin_px
    np.testing.assert_array_equal(grid.resample(hu), hu[y : y + size_px, x : x + size_px])


def test_a_finer_grid_is_linear_interpolation() -> None:
    hu = np.random.default_rng(1).normal(0, 300, (40, 50))
    grid = Grid.around((40.0, 36.0), hu.shape, (1.8, 1.6), 48, 0.7)

    steps = np.arange(48)
    x, y = grid.x.origin_px + steps * 0.7 / 1.6, grid.y.origin_px + steps * 0.7 / 1.8
    along_x = np.array([np.interp(x, np.arange(50), row) for row in hu])
    both = [np.interp(y, np.arange(40), column) for column in along_x.T]
    np.testing.assert_allclose(grid.resample(hu), np.array(both).T, atol=0.5 + 1e-6)


def test_a_coarser_grid_weighs_by_a_triangle_as_wide_as_its_pixel() -> None:
    axis = Axis.around(60.0, 200, 0.6, 40, 1.5)
    for row, weights in enumerate(axis.weights().toarray()):
        position = axis.to_image(row + 0.5) - 0.5
        triangle = np.maximum(0, 1 - np.abs(np.arange(200) - position) / 2.5)
        np.testing.assert_allclose(weights, triangle / triangle.sum(), atol=1e-12)


def test_a_coarser_grid_does_not_alias() -> None:
    stripes = np.tile([-900.0, 900.0], (120, 60))
    grid = Grid.around((30.0, 30.0), stripes.shape, (0.5, 0.5), 32, 1.5)
    assert np.abs(grid.resample(stripes)[2:-2, 2:-2]).max() <= 100


@settings(max_examples=30, deadline=None)
@given(st.floats(0.3, 3.0), st.floats(0.3, 3.0), st.integers(-1024, 3071))
def test_constants_stay_and_air_surrounds(spacing_mm: float, pixel_mm: float, value: int) -> None:
    hu = np.full((20, 20), float(value))
    middle = 10 * spacing_mm
    grid = Grid.around((middle, middle), hu.shape, (spacing_mm, spacing_mm), 64, pixel_mm)
    image = grid.resample(hu)
    reach = max(spacing_mm, pixel_mm)
    where_mm = [abs(grid.x.to_image(k + 0.5) * spacing_mm - middle) for k in range(64)]
    inside = np.array([at < middle - reach - 1e-6 for at in where_mm])
    outside = np.array([at > middle + reach + 1e-6 for at in where_mm])
    assert (image[np.ix_(inside, inside)] == value).all()
    assert (image[outside] == AIR_HU).all()


def test_values_beyond_16_bits_are_held() -> None:
    hu = np.full((40, 40), 60000.0)
    grid = Grid.around((20.0, 20.0), hu.shape, (1.0, 1.0), 32, 1.0)
    assert grid.resample(hu).max() == grid.resample(hu).min() == 32767


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


@settings(deadline=None)
@given(
    mask=arrays(np.bool_, st.tuples(st.integers(1, 30), st.integers(1, 30))),
    height_px=st.integers(1, 14),
    width_px=st.integers(1, 14),
)
def test_an_opening_is_that_of_scipy(mask: np.ndarray, height_px: int, width_px: int) -> None:
    expected = ndimage.grey_opening(mask.astype(np.uint8), size=(height_px, width_px))
    assert (_opened(mask, height_px, width_px) == expected).all()
