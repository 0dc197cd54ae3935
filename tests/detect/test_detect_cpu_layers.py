import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign

from dsnet.detect.device import Float32Conv2d, ProductPool, replace_layers

SIDE_PX = 96


def random_boxes(seed: int, counts: list[int]) -> list[Tensor]:
    """Return boxes within an image, some of them narrower than a pixel."""
    torch.manual_seed(seed)
    corners = [torch.rand(count, 2, 2) * SIDE_PX for count in counts]
    return [torch.cat([pair.amin(dim=1), pair.amax(dim=1)], dim=1) for pair in corners]


def pooled(
    pool: MultiScaleRoIAlign, maps: dict[str, Tensor], boxes: list[Tensor], above: Tensor
) -> tuple[Tensor, list[Tensor]]:
    values = pool(maps, boxes, [(SIDE_PX, SIDE_PX)] * len(boxes))
    return values, list(torch.autograd.grad(values, list(maps.values()), above))


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=3).filter(any),
    strides=st.sampled_from([(8,), (2, 4, 8), (4, 8, 16, 32)]),
)
def test_value_and_gradient_are_those_of_torchvision(
    seed: int, counts: list[int], strides: tuple[int, ...]
) -> None:
    boxes = random_boxes(seed, counts)
    maps = {
        str(stride): torch.randn(
            len(counts), 3, SIDE_PX // stride, SIDE_PX // stride, requires_grad=True
        )
        for stride in strides
    }
    plain = MultiScaleRoIAlign(list(maps), 7, 2)
    ours = MultiScaleRoIAlign(list(maps), 7, 2)
    replace_layers(nn.Sequential(ours))
    assert type(ours) is ProductPool
    above = torch.randn(sum(counts), 3, 7, 7)
    value, gradients = pooled(ours, maps, boxes, above)
    expected, expected_gradients = pooled(plain, maps, boxes, above)
    assert torch.equal(value, expected)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-4, atol=1e-4)


def test_under_bf16_the_gradient_has_the_type_of_the_map() -> None:
    boxes = random_boxes(0, [4, 4])
    level = torch.randn(2, 3, 12, 12, dtype=torch.bfloat16, requires_grad=True)
    ours = ProductPool(["0"], 7, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, (gradient,) = pooled(ours, {"0": level}, boxes, torch.ones(8, 3, 7, 7))
    assert value.dtype == gradient.dtype == torch.bfloat16
    # Each region spreads its 49 ones over the map, regardless of its shape.
    assert gradient.float().sum().item() == pytest.approx(8 * 3 * 49, rel=1e-2)


def gradient(conv: nn.Conv2d, images: Tensor, above: Tensor) -> Tensor:
    conv.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = conv(images)
    output.backward(above.to(output.dtype))
    assert conv.weight.grad is not None
    return conv.weight.grad.double()


@pytest.mark.parametrize(("channels", "groups"), [(16, 16), (64, 32)])
def test_a_grouped_dilated_convolution_has_its_gradient_under_bf16(
    channels: int, groups: int
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, channels, 3, padding=2, dilation=2, groups=groups, bias=False)
    conv = conv.to(memory_format=torch.channels_last)
    images, above = torch.randn(2, 4, channels, 32, 32).unbind()
    images = images.to(memory_format=torch.channels_last)
    exact = conv.double()(images.double())
    exact.backward(above.double())
    expected = conv.weight.grad.clone()
    network = nn.Sequential(conv.float())
    replace_layers(network)
    first, second = gradient(conv, images, above), gradient(conv, images, above)
    torch.testing.assert_close(first, expected, rtol=1e-4, atol=1e-3)
    assert torch.equal(first, second)


def test_only_grouped_and_dilated_convolutions_are_replaced() -> None:
    kinds = {
        "plain": nn.Conv2d(4, 4, 3),
        "grouped": nn.Conv2d(4, 4, 3, groups=2),
        "dilated": nn.Conv2d(4, 4, 3, dilation=2),
        "both": nn.Conv2d(4, 4, 3, groups=2, dilation=2),
    }
    network = nn.ModuleDict(kinds)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    replace_layers(network)
    assert [name for name, kind in kinds.items() if isinstance(kind, Float32Conv2d)] == ["both"]
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
