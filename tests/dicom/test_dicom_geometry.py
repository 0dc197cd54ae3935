import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.dicom.geometry import plane, stack

AXIAL = (1, 0, 0, 0, 1, 0)
SPACING_MM = (0.7, 0.7)


def tilted(tilt_deg: float) -> tuple[float, ...]:
    angle = math.radians(tilt_deg)
    return (1, 0, 0, 0, math.cos(angle), -math.sin(angle))


@given(st.floats(0, 90))
@settings(deadline=None, max_examples=50)
def test_tilt_is_the_angle_to_the_long_axis(tilt_deg: float) -> None:
    where = plane(tilted(tilt_deg), (0, 0, 0), SPACING_MM, math.nan)
    assert where.tilt_deg == pytest.approx(tilt_deg, abs=1e-5)
    assert where.fault == ""


@pytest.mark.parametrize("orientation", [AXIAL, (-1, 0, 0, 0, -1, 0), (0, 1, 0, -1, 0, 0)])
def test_every_way_to_lie_on_the_table_is_axial(orientation: tuple[int, ...]) -> None:
    assert plane(orientation, (1, 2, 3), SPACING_MM, math.nan).tilt_deg == 0


@pytest.mark.parametrize(
    ("gantry_deg", "tilt_deg"),
    [
        (math.nan, 10),
        (0, 10),
        (-18.5, 18.5),
        (18.5, 18.5),
        (3, 10),
        (90, 90),
        (255, 10),
        (-341.5, 10),
    ],
)
def test_the_larger_of_gantry_and_orientation_counts(gantry_deg: float, tilt_deg: float) -> None:
    where = plane(tilted(10), (0, 0, 0), SPACING_MM, gantry_deg)
    assert where.tilt_deg == pytest.approx(tilt_deg)


@pytest.mark.parametrize(
    ("orientation", "letters", "rotation_deg"),
    [
        (AXIAL, "LP", 0),
        ((-1, 0, 0, 0, -1, 0), "RA", 0),
        ((-1, 0, 0, 0, 1, 0), "RP", 0),
        ((0, 1, 0, -1, 0, 0), "PR", 0),
        ((0, -1, 0, 1, 0, 0), "AL", 0),
        ((0, 1, 0, 0, 0, -1), "PF", 0),
        (tilted(18.5), "LP", 0),
        ((0.8, 0.6, 0, -0.6, 0.8, 0), "LP", 36.87),
        ((0.6, 0.8, 0, -0.8, 0.6, 0), "PR", 36.87),
        ((math.sqrt(0.5), math.sqrt(0.5), 0, -math.sqrt(0.5), math.sqrt(0.5), 0), "LP", 45),
    ],
)
def test_rows_and_columns_lead_to_the_nearest_axes(
    orientation: tuple[float, ...], letters: str, rotation_deg: float
) -> None:
    where = plane(orientation, (0, 0, 0), SPACING_MM, math.nan)
    assert where.orientation == letters
    assert where.rotation_deg == pytest.approx(rotation_deg, abs=0.01)


def test_without_a_plane_there_is_no_orientation() -> None:
    where = plane((), (0, 0, 0), SPACING_MM, 5)
    assert where.orientation == ""
    assert math.isnan(where.rotation_deg)


@given(st.floats(-80, 80), st.floats(-500, 500))
@settings(deadline=None, max_examples=50)
def test_position_is_measured_along_the_normal(tilt_deg: float, away_mm: float) -> None:
    orientation = tilted(tilt_deg)
    normal = np.cross(orientation[:3], orientation[3:])
    in_plane = 12 * np.array(orientation[:3]) - 30 * np.array(orientation[3:])
    where = plane(orientation, away_mm * normal + in_plane, SPACING_MM, math.nan)
    assert where.position_mm == pytest.approx(away_mm, abs=1e-6)


@pytest.mark.parametrize(
    ("orientation", "position", "spacing_mm", "fault"),
    [
        ((), (0, 0, 0), SPACING_MM, "no_orientation"),
        (AXIAL, (), SPACING_MM, "no_position"),
        (AXIAL, (0, 0, 0), (), "no_spacing"),
        ((1, 0, 0, 0.5, 0.9, 0), (0, 0, 0), SPACING_MM, "not_orthogonal"),
        ((0, 0, 0, 0, 0, 0), (0, 0, 0), SPACING_MM, "not_orthogonal"),
        (AXIAL, (0, 0, 0), (0.7, 0), "impossible_spacing"),
        (AXIAL, (0, 0, 0), (-0.7, 0.7), "impossible_spacing"),
        (AXIAL, (0, 0, 0), (0.7, 70), "impossible_spacing"),
        ((0.99, 0.01, 0, -0.01, 1, 0), (0, 0, 0), SPACING_MM, "not_orthogonal"),
        ((1, 0.001, 0, 0, 1, 0), (0, 0, 0), SPACING_MM, ""),
    ],
)
def test_the_first_fault_is_named(
    orientation: tuple[float, ...],
    position: tuple[float, ...],
    spacing_mm: tuple[float, ...],
    fault: str,
) -> None:
    where = plane(orientation, position, spacing_mm, math.nan)
    assert where.fault == fault
    if fault in ("no_orientation", "not_orthogonal"):
        assert math.isnan(where.tilt_deg)
        assert math.isnan(where.position_mm)
        assert where.normal == ""


def test_stacks_of_one_series_are_told_apart_by_their_normal() -> None:
    normals = {
        plane(orientation, (0, 0, 0), SPACING_MM, math.nan).normal
        for orientation in (AXIAL, (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1), (1, -0.0, 0, 0, 1, 0))
    }
    assert normals == {"0.00 0.00 1.00", "-1.00 0.00 0.00", "0.00 1.00 0.00"}


@given(st.permutations(range(8)), st.floats(0.1, 20), st.floats(-900, 900))
@settings(deadline=None, max_examples=50)
def test_an_even_stack_in_any_order(order: list[int], gap_mm: float, start_mm: float) -> None:
    ordered = stack(start_mm + gap_mm * np.array(order))
    assert ordered.slice_number.tolist() == [index + 1 for index in order]
    assert ordered.spacing_mm == pytest.approx(gap_mm)
    assert ordered.irregular_fraction == 0


def test_a_missing_slice_and_a_change_of_spacing_are_counted() -> None:
    assert stack(np.array([0.0, 4, 8, 16, 20])).irregular_fraction == 0.25
    assert stack(np.array([0.0, 4, 8, 12, 19, 26])).irregular_fraction == 0.4


def test_slices_at_one_position_share_a_number_and_make_no_gap() -> None:
    ordered = stack(np.array([4.0, 0.0, 4.001, 8.0]))
    assert ordered.slice_number.tolist() == [2, 1, 2, 3]
    assert ordered.spacing_mm == pytest.approx(4)
    assert ordered.irregular_fraction == 0


def test_one_position_has_no_spacing() -> None:
    ordered = stack(np.array([3.0, 3.0]))
    assert ordered.slice_number.tolist() == [1, 1]
    assert math.isnan(ordered.spacing_mm)
    assert math.isnan(ordered.irregular_fraction)
