"""The registry against the interpretations, stages and feature maps against torchvision's."""

import math

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models import (
    MobileNet_V2_Weights,
    MobileNet_V3_Large_Weights,
    ResNet50_Weights,
    VGG16_Weights,
)
from torchvision.models.detection import (
    FasterRCNN_MobileNet_V3_Large_FPN_Weights,
    FasterRCNN_ResNet50_FPN_Weights,
)
from torchvision.models.detection.backbone_utils import (
    _mobilenet_extractor,
    _resnet_fpn_extractor,
)
from torchvision.models.detection.ssd import _vgg_extractor

from dsnet.config.detector import Backbone, Detector
from dsnet.detect.backbone import (
    BACKBONE,
    Norm,
    PhaseConv2d,
    attention_channels,
    build_backbone,
    has_pyramid,
    insert_attention,
    published_weights,
    start_weights,
)
from dsnet.errors import UserError

SIZE_PX = 64


def norm_of(name: Backbone) -> Norm:
    """Return a norm with which the stages are those of a published checkpoint."""
    if BACKBONE[name].published_norms:
        return nn.BatchNorm2d
    return lambda _channels: nn.Identity()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(4)


def test_sites_are_those_of_interpretation_6() -> None:
    assert {name: attention_channels(name, None) for name in BACKBONE} == {
        "resnet50": {"maxpool": 64, "layer4": 2048},
        "vgg16": {"4": 64, "30": 512},
        "mobilenet_v2": {"1": 16, "18": 1280},
        "mobilenet_v3_large": {"1": 16, "16": 960},
    }


@pytest.mark.parametrize("name", BACKBONE)
def test_neck_and_weights_are_those_of_interpretation_7(name: Backbone) -> None:
    is_resnet = name == "resnet50"
    assert has_pyramid(Detector(), name) is is_resnet
    assert [has_pyramid(Detector(fpn=fpn), name) for fpn in (True, False)] == [True, False]
    assert start_weights(Detector(weights="paper"), name) == ("coco" if is_resnet else "imagenet")
    assert start_weights(Detector(weights="mine.pt"), name) == "mine.pt"


def test_the_checkpoints_are_torchvision_s() -> None:
    assert {
        (name, key): checkpoint.weights
        for name, entry in BACKBONE.items()
        for key, checkpoint in entry.published.items()
    } == {
        ("resnet50", "coco"): FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
        ("resnet50", "imagenet"): ResNet50_Weights.IMAGENET1K_V1,
        ("vgg16", "imagenet"): VGG16_Weights.IMAGENET1K_V1,
        ("mobilenet_v2", "imagenet"): MobileNet_V2_Weights.IMAGENET1K_V1,
        ("mobilenet_v3_large", "coco"): FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1,
        ("mobilenet_v3_large", "imagenet"): MobileNet_V3_Large_Weights.IMAGENET1K_V1,
    }


@pytest.mark.parametrize("name", ["vgg16", "mobilenet_v2"])
def test_a_detector_that_was_never_published_is_refused(name: Backbone) -> None:
    with pytest.raises(UserError, match=rf"published for {name}: imagenet, but found no such"):
        published_weights(name, "coco")


def last_map(stages: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return what the last stage gives, without a classifier."""
    for name, stage in stages.named_children():
        if name not in ("avgpool", "fc"):
            x = stage(x)
    return x


@pytest.mark.parametrize("name", BACKBONE)
def test_tensors_are_named_and_shaped_as_published(name: Backbone) -> None:
    with torch.device("meta"):
        plain = getattr(models, name)()
        stages = plain if name == "resnet50" else plain.features
        expected = {key: tensor.shape for key, tensor in stages.state_dict().items()}
        for stride in (32, 16, 8):
            state = BACKBONE[name].stages(norm_of(name), stride).state_dict()
            assert {key: tensor.shape for key, tensor in state.items()} == expected


def test_vgg16_starts_as_torchvision_s_does() -> None:
    for name, stage in BACKBONE["vgg16"].stages(nn.BatchNorm2d, 32).named_children():
        if isinstance(stage, nn.Conv2d):
            spread = math.sqrt(2 / (9 * stage.out_channels))
            assert stage.weight.std().item() == pytest.approx(spread, rel=0.05), name
            assert not stage.bias.any()


@pytest.mark.parametrize("norms", [True, False])
def test_vgg16_is_torchvision_s_with_and_without_norms(norms: bool) -> None:
    ours = BACKBONE["vgg16"].stages(nn.BatchNorm2d if norms else norm_of("vgg16"), 32).eval()
    with torch.device("meta"):
        theirs = (models.vgg16_bn() if norms else models.vgg16()).features.eval()
    theirs.to_empty(device="cpu")
    # Ours in the order of theirs: convolution, norm, ReLU, each a child of its own.
    layers = [
        layer
        for child in ours
        for layer in (child if isinstance(child, nn.Sequential) else [child])
        if not isinstance(layer, nn.Identity)
    ]
    assert [type(layer) for layer in layers] == [type(layer) for layer in theirs]
    for layer, other in zip(layers, theirs, strict=True):
        for tensor in (*layer.parameters(), *layer.buffers()):
            if isinstance(layer, nn.BatchNorm2d) and tensor.is_floating_point():
                nn.init.uniform_(tensor, 0.5, 1.5)
        other.load_state_dict(layer.state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
def test_a_finer_map_holds_the_plain_one(name: Backbone) -> None:
    x = torch.rand(1, 3, 64, 64)
    stages = BACKBONE[name].stages
    plain = stages(nn.BatchNorm2d, 32).eval()
    with torch.no_grad():
        coarse = last_map(plain, x)
        for stride in (16, 8):
            dilated = stages(nn.BatchNorm2d, stride).eval()
            dilated.load_state_dict(plain.state_dict())
            step = 32 // stride
            fine = last_map(dilated, x)[..., ::step, ::step]
            torch.testing.assert_close(fine, coarse, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("step", [2, 4])
def test_phases_are_a_dilated_convolution(step: int) -> None:
    settings = {"padding": step, "dilation": step, "groups": 6, "bias": False}
    plain, phases = (kind(6, 6, 3, **settings).double() for kind in (nn.Conv2d, PhaseConv2d))
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
def test_channels_are_those_after_each_stage(name: Backbone) -> None:
    with torch.device("meta"):
        body = build_backbone(name, nn.BatchNorm2d, stride=None, trained=1).body
    x = torch.zeros(1, 3, SIZE_PX, SIZE_PX, device="meta")
    channels = {}
    for stage, module in body.to("meta").items():
        x = module(x)
        channels[stage] = x.shape[1]
    expected = BACKBONE[name].channels
    assert {stage: channels[stage] for stage in expected} == expected


def frozen(module: nn.Module) -> set[str]:
    return {name for name, weight in module.named_parameters() if not weight.requires_grad}


def theirs(name: Backbone, trained: int) -> nn.Module:
    """Return the stages as torchvision's detectors freeze them."""
    if name == "resnet50":
        return _resnet_fpn_extractor(models.resnet50(), trained).body
    if name == "vgg16":
        network = models.vgg16()
        _vgg_extractor(network, highres=False, trainable_layers=trained)
        return network.features
    network = getattr(models, name)()
    return _mobilenet_extractor(network, False, trained)[0]


@pytest.mark.parametrize("name", BACKBONE)
def test_what_trains_is_torchvision_s_choice(name: Backbone) -> None:
    groups = len(BACKBONE[name].starts)
    with torch.device("meta"):
        for trained in (0, 2, groups - 1, groups):
            ours = build_backbone(name, norm_of(name), stride=16, trained=trained)
            assert frozen(ours.body) == frozen(theirs(name, trained)), trained


def test_what_is_inserted_takes_the_place_of_the_map() -> None:
    class Zero(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(x)

    network = build_backbone("mobilenet_v2", nn.BatchNorm2d, stride=32, trained=6).eval()
    names = list(network.body)
    insert_attention(network, {"1": nn.Identity(), "18": Zero()})
    with_both = [*names[:2], "attention_1", *names[2:], "attention_18"]
    assert list(network.body) == with_both
    with torch.no_grad():
        (given,) = network(torch.rand(1, 3, SIZE_PX, SIZE_PX)).values()
    torch.testing.assert_close(given, network.reduce.bias[:, None, None].expand_as(given))
