import pytest
import torch
from torch import Tensor, nn

from dsnet.train.spared import SparedConv2d, spare


def gradient(conv: nn.Conv2d, images: Tensor, above: Tensor) -> Tensor:
    conv.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = conv(images)
    found.backward(above.to(found.dtype))
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
    spare(network)
    first, second = gradient(conv, images, above), gradient(conv, images, above)
    torch.testing.assert_close(first, expected, rtol=1e-4, atol=1e-3)
    assert torch.equal(first, second)


def test_only_what_is_grouped_and_dilated_is_spared() -> None:
    kinds = {
        "plain": nn.Conv2d(4, 4, 3),
        "grouped": nn.Conv2d(4, 4, 3, groups=2),
        "dilated": nn.Conv2d(4, 4, 3, dilation=2),
        "both": nn.Conv2d(4, 4, 3, groups=2, dilation=2),
    }
    network = nn.ModuleDict(kinds)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    spare(network)
    assert [name for name, kind in kinds.items() if isinstance(kind, SparedConv2d)] == ["both"]
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
