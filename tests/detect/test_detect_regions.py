"""Both stages' handling of regions against torchvision's, image by image."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher
from torchvision.ops import box_iou

from dsnet.detect.regions import BACKGROUND, IGNORED, Truth, match, sample

whole = st.integers(0, 12)
box = st.tuples(whole, whole, st.integers(1, 8), st.integers(1, 8)).map(
    lambda v: [v[0], v[1], v[0] + v[2], v[1] + v[3]]
)
image = st.lists(box, max_size=4)


def tensor(boxes: list[list[int]]) -> Tensor:
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(image, min_size=1, max_size=3),
    st.lists(box, min_size=1, max_size=8),
    st.sampled_from([(0.7, 0.3), (0.5, 0.5)]),
    st.booleans(),
)
def test_matches_are_those_of_torchvision(
    images: list[list[list[int]]],
    regions: list[list[int]],
    thresholds: tuple[float, float],
    low_quality: bool,
) -> None:
    targets = [
        {"boxes": tensor(boxes), "labels": torch.arange(len(boxes)) % 3 + 1} for boxes in images
    ]
    high, low = thresholds
    matched = match(
        Truth.of(targets),
        tensor(regions)[None],
        foreground=high,
        background=low,
        low_quality=low_quality,
    )
    matcher = Matcher(high, low, allow_low_quality_matches=low_quality)
    for target, boxes, labels in zip(targets, matched.boxes, matched.labels, strict=True):
        if not len(target["boxes"]):
            assert labels.tolist() == [BACKGROUND] * len(regions)
            continue
        own = matcher(box_iou(target["boxes"], tensor(regions)))
        for index, box_, label in zip(own.tolist(), boxes, labels.tolist(), strict=True):
            if index >= 0:
                assert torch.equal(box_, target["boxes"][index])
                assert label == target["labels"][index]
            else:
                names = {Matcher.BELOW_LOW_THRESHOLD: BACKGROUND}
                assert label == names.get(index, IGNORED)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.lists(st.integers(-1, 3), min_size=9, max_size=9), min_size=1, max_size=3),
    st.integers(1, 12),
    st.sampled_from([0.25, 0.5]),
)
def test_as_many_are_sampled_as_torchvision_samples(
    labels: list[list[int]], count: int, fraction: float
) -> None:
    values = torch.tensor(labels)
    positive, negative = sample(values, count, fraction)
    expected = BalancedPositiveNegativeSampler(count, fraction)(list(values))
    for ours, theirs in zip((positive, negative), expected, strict=True):
        assert ours.sum(dim=1).tolist() == [int(one.sum()) for one in theirs]
    assert (values[positive] > BACKGROUND).all()
    assert (values[negative] == BACKGROUND).all()


def test_each_region_is_sampled_as_often() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([[1, 1, 1, 0, 0, 0, -1]]).expand(4000, -1)
    positive, negative = sample(labels, 3, 0.5)
    often = torch.cat([positive[:, :3], negative[:, 3:6]], dim=1).float().mean(dim=0)
    expected = torch.tensor([1 / 3] * 3 + [2 / 3] * 3)
    torch.testing.assert_close(often, expected, atol=0.03, rtol=0)
