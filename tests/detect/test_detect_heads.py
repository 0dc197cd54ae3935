"""Dice against the loop that defines it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from dsnet.config.detector import Detector, Variant
from dsnet.detect.heads import class_loss, dice, dice_ce
from dsnet.detect.model import build


def literal_dice(
    probabilities: list[list[float]],
    labels: list[int],
    *,
    background: bool,
    smooth: float,
    weights: list[float] | None = None,
) -> float:
    coefficients, counted = [], []
    for c in range(len(probabilities[0])):
        if c not in labels or (c == 0 and not background):
            continue
        overlap = mass = 0.0
        for p, label in zip(probabilities, labels, strict=True):
            overlap += p[c] * (label == c)
            mass += p[c] + (label == c)
        counted.append(1.0 if weights is None else weights[c])
        coefficients.append(counted[-1] * (2 * overlap + smooth) / (mass + smooth))
    return 1 - sum(coefficients) / sum(counted) if coefficients else 0.0


regions = st.lists(
    st.tuples(st.lists(st.floats(-8, 8), min_size=4, max_size=4), st.integers(0, 3)),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=50)
@given(regions, st.booleans(), st.sampled_from([0.1, 1.0, 5.0]))
def test_dice_is_its_definition(
    sampled: list[tuple[list[float], int]], background: bool, smooth: float
) -> None:
    logits = torch.tensor([z for z, _ in sampled], dtype=torch.float64)
    labels = torch.tensor([label for _, label in sampled])
    expected = literal_dice(
        logits.softmax(dim=1).tolist(), labels.tolist(), background=background, smooth=smooth
    )
    value = dice(logits, labels, include_background=background, smooth=smooth)
    assert value.item() == pytest.approx(expected, abs=1e-12)
    assert 0 <= value.item() < 1


@settings(deadline=None, max_examples=30)
@given(regions, st.booleans(), st.lists(st.floats(0.1, 3), min_size=3, max_size=3))
def test_classes_weigh_in_both_losses(
    sampled: list[tuple[list[float], int]], background: bool, weights: list[float]
) -> None:
    logits = torch.tensor([z for z, _ in sampled], dtype=torch.float64)
    labels = torch.tensor([label for _, label in sampled])
    probabilities, every = logits.softmax(dim=1).tolist(), [1.0, *weights]
    soft = literal_dice(
        probabilities, labels.tolist(), background=background, smooth=1.0, weights=every
    )
    mass = [every[label] for _, label in sampled]
    logs = [math.log(p[label]) for p, (_, label) in zip(probabilities, sampled, strict=True)]
    hard = -sum(m * log for m, log in zip(mass, logs, strict=True)) / sum(mass)
    for name, expected in {"dice": soft, "ce": hard, "dice_ce": soft + hard}.items():
        loss = class_loss(Detector(loss=name, include_background=background), weights)
        assert loss(logits, labels).item() == pytest.approx(expected, abs=1e-9)
        even = class_loss(Detector(loss=name, include_background=background), [1.0, 1.0, 1.0])
        plain = class_loss(Detector(loss=name, include_background=background))
        assert even(logits, labels).item() == pytest.approx(plain(logits, labels).item(), abs=1e-12)


def test_a_batch_without_foreground_gives_zero_with_a_gradient() -> None:
    logits = torch.randn(5, 4, requires_grad=True)
    value = dice(logits, torch.zeros(5, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert torch.equal(logits.grad, torch.zeros(5, 4))


def test_background_regions_are_kept_down() -> None:
    logits = torch.zeros(2, 4, requires_grad=True)
    dice(logits, torch.tensor([1, 0])).backward()
    assert logits.grad[1, 1] > 0  # descent lowers the class in the background region
    assert logits.grad[0, 1] < 0


@settings(deadline=None, max_examples=20)
@given(regions, st.randoms())
def test_dice_does_not_depend_on_the_order_of_regions(sampled: list, random: object) -> None:
    shuffled = list(sampled)
    random.shuffle(shuffled)
    values = [
        dice(
            torch.tensor([z for z, _ in some], dtype=torch.float64),
            torch.tensor([label for _, label in some]),
        ).item()
        for some in (sampled, shuffled)
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-12)


@pytest.mark.parametrize("background", [False, True])
def test_the_config_names_the_loss(background: bool) -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    soft = dice(logits, labels, include_background=background)
    hard = functional.cross_entropy(logits, labels)
    for name, expected in {"dice": soft, "ce": hard, "dice_ce": soft + hard}.items():
        loss = class_loss(Detector(loss=name, include_background=background))
        assert torch.equal(loss(logits, labels), expected)
    assert torch.equal(dice_ce(logits, labels, include_background=background), soft + hard)


def test_a_batch_without_proposals_learns_from_its_annotated_boxes(
    images: list[torch.Tensor], targets: list[dict[str, torch.Tensor]]
) -> None:
    heads = build(Detector(weights="none"), Variant(), size_px=64, pixel_mm=2.0).roi_heads
    maps = {str(level): torch.ones(2, 256, 16 >> level, 16 >> level) for level in range(4)}
    none = [torch.zeros(0, 4)] * 2
    _, losses = heads.train()(maps, none, [image.shape[-2:] for image in images], targets)
    assert all(loss.isfinite() for loss in losses.values())
    assert losses["loss_classifier"] > 0
