import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dsnet.config import Train
from dsnet.train.augment import augment, flip


@st.composite
def drawings(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Return an image that is 1 within whole-pixel boxes that do not overlap, and the boxes."""
    width, height = draw(st.integers(4, 20)), draw(st.integers(4, 20))
    image, boxes = torch.zeros(3, height, width), []
    for left, right in ((0, width // 2), (width // 2, width)):
        x_min = draw(st.integers(left, right - 1))
        x_max = draw(st.integers(x_min + 1, right))
        y_min = draw(st.integers(0, height - 1))
        y_max = draw(st.integers(y_min + 1, height))
        if draw(st.booleans()):
            image[:, y_min:y_max, x_min:x_max] = 1
            boxes.append([x_min, y_min, x_max, y_max])
    return image, torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)


@settings(deadline=None, max_examples=50)
@given(drawings())
def test_boxes_go_where_their_pixels_go(drawing: tuple[Tensor, Tensor]) -> None:
    image, boxes = flip(*drawing)
    drawn = torch.zeros_like(image)
    for x_min, y_min, x_max, y_max in boxes.int().tolist():
        drawn[:, y_min:y_max, x_min:x_max] = 1
    assert torch.equal(drawn, image)
    assert image.shape == drawing[0].shape


@settings(deadline=None, max_examples=50)
@given(drawings())
def test_mirrored_twice_is_nothing(drawing: tuple[Tensor, Tensor]) -> None:
    image, boxes = flip(*flip(*drawing))
    assert torch.equal(image, drawing[0])
    assert torch.equal(boxes, drawing[1])


def test_what_happens_follows_from_seed_epoch_and_index() -> None:
    image, boxes = torch.arange(12.0).reshape(1, 3, 4), torch.tensor([[0.0, 0.0, 1.0, 1.0]])

    def flipped(probability: float, seed: int, epoch: int, index: int) -> bool:
        shown, _ = augment(
            image,
            boxes,
            Train(flip_probability=probability),
            seed=seed,
            epoch=epoch,
            index=index,
        )
        return not torch.equal(shown, image)

    places = [(seed, epoch, index) for seed in (0, 1) for epoch in (0, 1) for index in range(100)]
    happened = np.array([flipped(0.3, *place) for place in places])
    assert happened.tolist() == [flipped(0.3, *place) for place in places]
    assert 0.2 < happened.mean() < 0.4
    assert len({tuple(row) for row in happened.reshape(4, 100)}) == 4
    assert not any(flipped(0.0, *place) for place in places[:20])
    assert all(flipped(1.0, *place) for place in places[:20])
