import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dsnet.config.detector import Train
from dsnet.slices import AIR_HU
from dsnet.train.data import augment, flip, rotate

EVERYTHING = Train(rotation_deg=15, scale_fraction=0.2, noise_hu=20, shift_hu=30)


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Return an image that is 1 within whole-pixel boxes that do not overlap, and the boxes."""
    width, height = draw(st.integers(4, 20)), draw(st.integers(4, 20))
    image, boxes = torch.zeros(height, width), []
    for left, right in ((0, width // 2), (width // 2, width)):
        x_min = draw(st.integers(left, right - 1))
        x_max = draw(st.integers(x_min + 1, right))
        y_min = draw(st.integers(0, height - 1))
        y_max = draw(st.integers(y_min + 1, height))
        if draw(st.booleans()):
            image[y_min:y_max, x_min:x_max] = 1
            boxes.append([x_min, y_min, x_max, y_max])
    return image, torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Return an image with one bright ellipse of the size of a vertebral body, and its box."""
    width, height = draw(st.integers(60, 90)), draw(st.integers(60, 90))
    half = np.array([draw(st.floats(6, 16)), draw(st.floats(6, 16))])
    room = np.array([width, height]) - 2 * half
    centre = half + room * [draw(st.floats(0, 1)), draw(st.floats(0, 1))]
    y, x = np.mgrid[:height, :width] + 0.5
    inside = ((x - centre[0]) / half[0]) ** 2 + ((y - centre[1]) / half[1]) ** 2 < 1
    hu = torch.from_numpy(np.where(inside, 1000, 0).astype(np.float32))
    box = torch.from_numpy(np.concatenate([centre - half, centre + half]).astype(np.float32))
    size = torch.tensor([width, height, width, height])
    return hu, torch.minimum(box.clamp(min=0), size)[None]


def hull(bright: Tensor) -> list[int]:
    rows, columns = torch.where(bright)
    edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return [int(edge) for edge in edges]


@settings(deadline=None, max_examples=30)
@given(rectangles())
def test_boxes_go_where_their_pixels_go(given_image: tuple[Tensor, Tensor]) -> None:
    image, boxes = flip(*given_image)
    expected = torch.zeros_like(image)
    for x_min, y_min, x_max, y_max in boxes.int().tolist():
        expected[y_min:y_max, x_min:x_max] = 1
    assert torch.equal(expected, image)
    assert image.shape == given_image[0].shape


@settings(deadline=None, max_examples=30)
@given(rectangles())
def test_mirroring_twice_changes_nothing(given_image: tuple[Tensor, Tensor]) -> None:
    image, boxes = flip(*flip(*given_image))
    assert torch.equal(image, given_image[0])
    assert torch.equal(boxes, given_image[1])


@settings(deadline=None, max_examples=30)
@given(bodies(), st.floats(-30, 30), st.floats(0.7, 1.3))
def test_a_box_follows_its_vertebra(
    body: tuple[Tensor, Tensor], angle_deg: float, scale: float
) -> None:
    hu, boxes = rotate(*body, angle_deg=angle_deg, scale=scale)
    assert hull(hu > 500) == pytest.approx(boxes[0].tolist(), abs=1.6)
    assert hu.shape == body[0].shape
    height, width = hu.shape
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([width, height, width, height])).all()


@settings(deadline=None, max_examples=30)
@given(rectangles())
def test_rotation_by_zero_changes_nothing(given_image: tuple[Tensor, Tensor]) -> None:
    hu, boxes = rotate(*given_image, angle_deg=0, scale=1)
    assert hu is given_image[0]
    assert boxes is given_image[1]


def test_a_quarter_rotation_goes_from_x_to_y() -> None:
    hu = torch.arange(16.0).reshape(4, 4)
    rotated, boxes = rotate(hu, torch.tensor([[2.0, 0.0, 4.0, 1.0]]), angle_deg=90, scale=1)
    torch.testing.assert_close(rotated, hu.rot90(-1), atol=1e-3, rtol=0)
    torch.testing.assert_close(boxes, torch.tensor([[3.0, 2.0, 4.0, 4.0]]), atol=1e-5, rtol=0)


def test_pixels_from_outside_are_air() -> None:
    hu, _ = rotate(torch.full((20, 20), 50.0), torch.zeros(0, 4), angle_deg=0, scale=0.5)
    assert hu[0, 0] == hu[-1, -1] == AIR_HU
    assert hu[10, 10] == 50


def test_a_rotation_that_would_cut_a_vertebra_is_halved_or_left_out() -> None:
    hu = torch.rand(64, 64)
    at_the_edge = torch.tensor([[0.0, 20.0, 20.0, 40.0]])
    assert rotate(hu, at_the_edge, angle_deg=0, scale=1.2)[0] is hu
    near = torch.tensor([[4.0, 20.0, 24.0, 40.0]])
    rotated, boxes = rotate(hu, near, angle_deg=0, scale=1.2)
    expected = rotate(hu, near, angle_deg=0, scale=1.1)
    assert torch.equal(rotated, expected[0])
    assert torch.equal(boxes, expected[1])
    assert boxes[0, 0] > 0


def test_what_happens_follows_from_seed_epoch_and_index() -> None:
    image, boxes = torch.arange(12.0).reshape(3, 4), torch.tensor([[0.0, 0.0, 1.0, 1.0]])

    def flipped(probability: float, seed: int, epoch: int, index: int) -> bool:
        config = Train(flip_probability=probability)
        augmented, _ = augment(image, boxes, config, seed=seed, epoch=epoch, index=index)
        return not torch.equal(augmented, image)

    keys = [(seed, epoch, index) for seed in (0, 1) for epoch in (0, 1) for index in range(100)]
    happened = np.array([flipped(0.3, *key) for key in keys])
    assert happened.tolist() == [flipped(0.3, *key) for key in keys]
    assert 0.2 < happened.mean() < 0.4
    assert len({tuple(row) for row in happened.reshape(4, 100)}) == 4
    assert not any(flipped(0.0, *key) for key in keys[:20])
    assert all(flipped(1.0, *key) for key in keys[:20])


@settings(deadline=None, max_examples=20)
@given(bodies(), st.integers(0, 2**31), st.integers(0, 99), st.integers(0, 9999))
def test_everything_together_is_deterministic_and_keeps_every_vertebra(
    body: tuple[Tensor, Tensor], seed: int, epoch: int, index: int
) -> None:
    hu, boxes = augment(*body, EVERYTHING, seed=seed, epoch=epoch, index=index)
    again = augment(*body, EVERYTHING, seed=seed, epoch=epoch, index=index)
    assert torch.equal(hu, again[0])
    assert torch.equal(boxes, again[1])
    assert hull(hu > 500) == pytest.approx(boxes[0].tolist(), abs=1.6)
    assert hu.dtype == boxes.dtype == torch.float32


def test_noise_and_shift_are_in_hu_and_stay_within_the_config() -> None:
    flat, boxes = torch.full((100, 100), 40.0), torch.zeros(0, 4)
    config = Train(flip_probability=0, noise_hu=20, shift_hu=30)
    images = [augment(flat, boxes, config, seed=0, epoch=0, index=i)[0] for i in range(50)]
    noise, shift = (
        np.array([image.std().item() for image in images]),
        np.array([image.mean().item() - 40 for image in images]),
    )
    assert noise.max() == pytest.approx(20, abs=1)
    assert noise.min() < 3
    assert 25 < np.abs(shift).max() < 30.7
    assert shift.min() < -20
    assert shift.max() > 20


def test_one_more_change_leaves_the_others_as_they_were() -> None:
    hu, boxes = torch.rand(50, 50) * 100, torch.tensor([[15.0, 15.0, 35.0, 30.0]])
    key = {"seed": 1, "epoch": 2, "index": 3}
    rotated, moved_boxes = augment(hu, boxes, Train(rotation_deg=20), **key)
    shifted, same = augment(hu, boxes, Train(rotation_deg=20, shift_hu=10), **key)
    assert torch.equal(moved_boxes, same)
    moved = shifted - rotated
    assert moved.min().item() == pytest.approx(moved.max().item(), abs=1e-3)
    assert 0 < abs(moved.mean().item()) <= 10
