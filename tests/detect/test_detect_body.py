"""The stages of each backbone against torchvision's."""

import math

import pytest
import torch
from torch import nn
from torchvision import models

from dsnet.detect.body import Body, Phases, mobilenet_v2, mobilenet_v3_large, resnet50, vgg16

BODIES = {
    "resnet50": (resnet50, models.resnet50),
    "vgg16": (vgg16, models.vgg16),
    "mobilenet_v2": (mobilenet_v2, models.mobilenet_v2),
    "mobilenet_v3_large": (mobilenet_v3_large, models.mobilenet_v3_large),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(4)


def last_map(body: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return what the last stage gives, without a classifier."""
    for name, stage in body.named_children():
        if name not in ("avgpool", "fc"):
            x = stage(x)
    return x


@pytest.mark.parametrize("name", BODIES)
def test_tensors_are_named_and_shaped_as_published(name: str) -> None:
    ours, theirs = BODIES[name]
    with torch.device("meta"):
        plain = theirs()
        stages = plain if name == "resnet50" else plain.features
        expected = {key: tensor.shape for key, tensor in stages.state_dict().items()}
        for stride in (32, 16, 8):
            state = ours(nn.BatchNorm2d, stride).state_dict()
            assert {key: tensor.shape for key, tensor in state.items()} == expected


def test_vgg16_starts_as_torchvision_s_does() -> None:
    for name, stage in vgg16(nn.BatchNorm2d, 32).named_children():
        if isinstance(stage, nn.Conv2d):
            spread = math.sqrt(2 / (9 * stage.out_channels))
            assert stage.weight.std().item() == pytest.approx(spread, rel=0.05), name
            assert not stage.bias.any()


@pytest.mark.parametrize("body", [resnet50, mobilenet_v2])
def test_a_finer_map_holds_the_plain_one(body: Body) -> None:
    x = torch.rand(1, 3, 64, 64)
    plain = body(nn.BatchNorm2d, 32).eval()
    with torch.no_grad():
        coarse = last_map(plain, x)
        for stride in (16, 8):
            dilated = body(nn.BatchNorm2d, stride).eval()
            dilated.load_state_dict(plain.state_dict())
            step = 32 // stride
            fine = last_map(dilated, x)[..., ::step, ::step]
            torch.testing.assert_close(fine, coarse, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("step", [2, 4])
def test_phases_are_a_dilated_convolution(step: int) -> None:
    settings = {"padding": step, "dilation": step, "groups": 6, "bias": False}
    plain, phases = (kind(6, 6, 3, **settings).double() for kind in (nn.Conv2d, Phases))
    phases.load_state_dict(plain.state_dict())
    x, weight = torch.rand(2, 6, 8, 12, dtype=torch.float64), torch.rand(2, 6, 8, 12)
    given, gradients = [], []
    for layer in (plain, phases):
        seen = x.clone().requires_grad_()
        given.append(layer(seen))
        (given[-1] * weight).sum().backward()
        gradients.append((seen.grad, layer.weight.grad))
    torch.testing.assert_close(given[0], given[1])
    torch.testing.assert_close(gradients[0], gradients[1])
    with torch.no_grad():
        assert torch.equal(phases(x), plain(x))
