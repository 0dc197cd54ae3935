import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dsnet.phantom.axial_slice import Vertebra, body_outline, render
from dsnet.phantom.person import ALL_LEVELS, Cues, SlicePosition, sample_anatomy
from dsnet.phantom.raster import Canvas, Plane, capsule, digitise, ellipse, reconstruct

SPACING_MM = 1.2
CUES = Cues(110.0, 35.0, 2.0)


def rendered(
    seed: int, position: SlicePosition, cues: Cues = CUES
) -> tuple[Plane, tuple[int, int, int, int]]:
    rng = np.random.default_rng(seed)
    canvas = Canvas(160, SPACING_MM, (0.0, 0.0))
    box = render(canvas, sample_anatomy(rng), position, cues, rng)
    return canvas.hu, box


def component_mm2(hu: Plane, low: float, high: float = np.inf) -> float:
    labels, count = ndimage.label((hu >= low) & (hu < high))
    return float(np.bincount(labels.ravel())[1:].max() * SPACING_MM**2) if count else 0.0


@given(st.integers(0, 2**31), st.sampled_from(ALL_LEVELS), st.floats(-0.7, 0.7))
@settings(deadline=None, max_examples=25)
def test_box_holds_a_body_of_human_size(seed: int, level: str, height: float) -> None:
    hu, (x, y, width, height_px) = rendered(seed, SlicePosition(level, height))
    assert hu.shape == (160, 160)
    assert np.isfinite(hu).all()
    assert 40 <= width * SPACING_MM <= 58
    assert 26 <= height_px * SPACING_MM <= 40
    assert abs(x + width / 2 - 80) < 3
    assert abs(y + height_px / 2 - 80) < 5


@given(st.integers(0, 2**31), st.sampled_from(ALL_LEVELS), st.floats(-0.7, 0.7))
@settings(deadline=None, max_examples=25)
def test_box_is_tight(seed: int, level: str, height: float) -> None:
    anatomy = sample_anatomy(np.random.default_rng(seed))
    canvas = Canvas(320, 0.2, (0.0, 0.0))
    outline = body_outline(Vertebra(anatomy, SlicePosition(level, height)))
    rows, columns = canvas.window(outline.bounds)
    inside = canvas.distance(outline) <= 0
    x_mm, y_mm = canvas.x[rows, columns][inside], canvas.y[rows, columns][inside]
    _, (x, y, width, height_px) = rendered(seed, SlicePosition(level, height))
    edges = np.array([x, y, x + width, y + height_px]) * SPACING_MM - 96
    assert edges == pytest.approx([x_mm.min(), y_mm.min(), x_mm.max(), y_mm.max()], abs=0.8)


@pytest.mark.parametrize("cues", [Cues(160, 15, 3.0), Cues(110, 40, 1.8), Cues(75, 75, 1.1)])
def test_trabecular_bone_is_what_the_cues_say(cues: Cues) -> None:
    means, deviations = [], []
    for seed in range(12):
        hu, (x, y, w, h) = rendered(seed, SlicePosition("L3", 0.3), cues)
        rows, columns = np.mgrid[:h, :w]
        middle = ((columns - w / 2) / (0.33 * w)) ** 2 + ((rows - h / 2) / (0.3 * h)) ** 2 < 1
        region = hu[y : y + h, x : x + w][middle]
        means.append(region.mean())
        deviations.append(region.std())
    assert np.mean(means) == pytest.approx(cues.trabecular_hu, abs=0.25 * cues.texture_hu)
    assert np.mean(deviations) == pytest.approx(cues.texture_hu, rel=0.15)


def test_a_thicker_cortex_holds_more_bone() -> None:
    totals = []
    for cortex_mm in (1.0, 2.0, 3.0):
        hu, (x, y, w, h) = rendered(5, SlicePosition("L2", -0.5), Cues(110, 0.1, cortex_mm))
        totals.append(float(hu[y : y + h, x : x + w].sum()))
    assert totals == sorted(totals)


@given(seed=st.integers(0, 2**31), bone=st.booleans())
@settings(deadline=None, max_examples=15)
def test_metal_and_cement_are_distinct_from_bone(seed: int, *, bone: bool) -> None:
    def image(implant: str) -> Plane:
        raw, _ = rendered(seed, SlicePosition("L3", 0.65, implant))
        rng = np.random.default_rng(seed)
        return digitise(reconstruct(raw, SPACING_MM, bone=bone, noise_hu=27, rng=rng))

    ordinary, screws, cement = image(""), image("screws"), image("cement")
    assert component_mm2(ordinary, 1500) == 0
    assert component_mm2(screws, 2500) > 100
    assert screws.max() == 3071
    assert component_mm2(cement, 1500, 2500) > 60
    assert component_mm2(cement, 2500) < 10


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(3, 15), st.floats(3, 15))
@settings(deadline=None, max_examples=50)
def test_partial_volume_keeps_the_area(x: float, y: float, a: float, b: float) -> None:
    canvas = Canvas(60, 1.0, (0.0, 0.0))
    canvas.hu[:] = 0
    canvas.paint(ellipse(x, y, a, b, 30), 1.0)
    assert canvas.hu.sum() == pytest.approx(np.pi * a * b, rel=0.05)
    canvas.hu[:] = 0
    canvas.paint(capsule(0, 0, x + 11, y, a / 2), 1.0)
    area = a * np.hypot(x + 11, y) + np.pi * a**2 / 4
    assert canvas.hu.sum() == pytest.approx(area, rel=0.05)
    assert canvas.hu.max() <= 1


def test_shapes_outside_the_image_leave_it_alone() -> None:
    canvas = Canvas(32, 1.0, (0.0, 0.0))
    canvas.paint(ellipse(500, 0, 5, 5) | ellipse(510, 0, 5, 5), 100.0)
    assert (canvas.hu == -1000).all()
