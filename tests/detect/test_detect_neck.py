"""The maps that each backbone gives, and what of it trains."""

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2, mobilenet_v3_large, resnet50, vgg16
from torchvision.models.detection.backbone_utils import (
    _mobilenet_extractor,
    _resnet_fpn_extractor,
)
from torchvision.models.detection.ssd import _vgg_extractor

from dsnet.config.detector import Backbone
from dsnet.detect.backbone import BACKBONE
from dsnet.detect.neck import build_backbone, insert

SIZE_PX = 64


@pytest.mark.parametrize("name", BACKBONE)
def test_strides_and_channels_of_the_maps(name: Backbone) -> None:
    x = torch.zeros(1, 3, SIZE_PX, SIZE_PX, device="meta")
    for stride, strides in {None: [4, 8, 16, 32, 64], 8: [8], 16: [16]}.items():
        with torch.device("meta"):
            network = build_backbone(name, nn.BatchNorm2d, stride=stride, trained=1)
        maps = network.to("meta")(x)
        shapes = [(1, 256, SIZE_PX // one, SIZE_PX // one) for one in strides]
        assert [tuple(one.shape) for one in maps.values()] == shapes
        assert next(iter(maps)) == "0"  # the name by which the heads take it


@pytest.mark.parametrize("name", BACKBONE)
def test_channels_are_those_behind_each_stage(name: Backbone) -> None:
    with torch.device("meta"):
        body = build_backbone(name, nn.BatchNorm2d, stride=None, trained=1).body
    x = torch.zeros(1, 3, SIZE_PX, SIZE_PX, device="meta")
    found = {}
    for stage, module in body.to("meta").items():
        x = module(x)
        found[stage] = x.shape[1]
    known = BACKBONE[name].channels
    assert {stage: found[stage] for stage in known} == known


def frozen(module: nn.Module) -> set[str]:
    return {name for name, weight in module.named_parameters() if not weight.requires_grad}


def theirs(name: Backbone, trained: int) -> nn.Module:
    """Return the stages as torchvision's detectors freeze them."""
    if name == "resnet50":
        return _resnet_fpn_extractor(resnet50(), trained).body
    if name == "vgg16":
        network = vgg16()
        _vgg_extractor(network, highres=False, trainable_layers=trained)
        return network.features
    network = mobilenet_v2() if name == "mobilenet_v2" else mobilenet_v3_large()
    return _mobilenet_extractor(network, False, trained)[0]


@pytest.mark.parametrize("name", BACKBONE)
def test_what_trains_is_torchvision_s_choice(name: Backbone) -> None:
    parts = len(BACKBONE[name].starts)
    with torch.device("meta"):
        for trained in (0, 2, parts - 1, parts):
            ours = build_backbone(name, nn.BatchNorm2d, stride=16, trained=trained)
            assert frozen(ours.body) == frozen(theirs(name, trained)), trained


def test_what_is_inserted_takes_the_place_of_the_map() -> None:
    class Zero(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(x)

    network = build_backbone("mobilenet_v2", nn.BatchNorm2d, stride=32, trained=6).eval()
    names = list(network.body)
    insert(network, {"1": nn.Identity(), "18": Zero()})
    with_both = [*names[:2], "attention_1", *names[2:], "attention_18"]
    assert list(network.body) == with_both
    with torch.no_grad():
        (given,) = network(torch.rand(1, 3, SIZE_PX, SIZE_PX)).values()
    torch.testing.assert_close(given, network.reduce.bias[:, None, None].expand_as(given))
