"""The backbones: stages, feature maps and attention sites (interpretations 6, 7 and 9).

Stages are torchvision's, as children by name in the order in which they run. A detector sees either
a pyramid of five maps of strides 4, 8, 16, 32 and 64, or one map of stride 8, 16 or 32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from torchvision.models import WeightsEnum, detection
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.backbone_utils import BackboneWithFPN

from dsnet.config.detector import Backbone, Detector
from dsnet.errors import UserError

ATTENTION_PREFIX = "attention_"
"""How the name of a child begins that holds attention; the rest names the stage before it."""

STAGES_PREFIX = "backbone.body."
"""How the names of the stages' tensors begin in a detector."""

PUBLISHED = ("imagenet", "coco")
"""The keys of torchvision's checkpoints."""

_MAP_CHANNELS = 256  # of each map that the heads see, as in torchvision

Norm = Callable[[int], nn.Module]
"""From a number of channels to a normalising layer."""

Stages = Callable[[Norm, int], nn.Module]
"""From a norm and the stride of the last map to the stages. For strides of 16 and 8 the last steps
down in resolution are left out, and what comes after them sees as far as before by dilation; names
and shapes of the weights stay. Layers after the last map are not run."""


@dataclass(frozen=True)
class Published:
    """A checkpoint of torchvision's.

    Attributes
    ----------
    weights : WeightsEnum
    prefix : str
        How the names of the stages' tensors begin in it.
    eps : float
        What its norms added to the variance when it was trained.
    whole : bool
        Whether, with a pyramid, all of the detector is in it.
    """

    weights: WeightsEnum
    prefix: str
    eps: float = 1e-5
    whole: bool = False


@dataclass(frozen=True)
class Entry:
    """What the detector has to know of a backbone.

    Attributes
    ----------
    stages : callable
    channels : mapping
        Channels after each stage after which attention may stand.
    maps : tuple of str
        The last stages of strides 4, 8, 16 and 32, from which a pyramid is built. Without a pyramid
        the last of them gives the one map, dilated to a finer stride if need be.
    sites : tuple of str
        The stages after which attention stands by default (docs/interpretations.md#6).
    pyramid : bool
        Whether there is a pyramid by default (docs/interpretations.md#7).
    paper : str
        The key of `published` from which the paper's training started (docs/interpretations.md#7).
    starts : tuple of str
        Where each group of stages begins that trains or is frozen together; torchvision's.
    trainable_layers : int
        How many of these groups, from the last, train by default when pretrained; torchvision's.
    published : mapping
        From a key of `PUBLISHED`, where torchvision has one.
    published_norms : bool
        Whether these were trained with norms.
    """

    stages: Stages
    channels: Mapping[str, int]
    maps: tuple[str, str, str, str]
    sites: tuple[str, ...]
    pyramid: bool
    paper: str
    starts: tuple[str, ...]
    trainable_layers: int
    published: Mapping[str, Published]
    published_norms: bool = True


def resnet50(norm: Norm, stride: int) -> nn.Module:
    """Return ResNet-50, https://arxiv.org/abs/1512.03385; dilated by torchvision."""
    dilated = [False, stride < 16, stride < 32]
    network: nn.Module = models.resnet50(norm_layer=norm, replace_stride_with_dilation=dilated)
    return network


def vgg16(norm: Norm, stride: int) -> nn.Module:
    """Return the features of VGG-16, https://arxiv.org/abs/1409.1556.

    Each ReLU becomes norm and ReLU: torchvision's vgg16_bn with the numbers of vgg16, so that
    convolutions and attention sites keep their names. With the identity as norm it is vgg16.

    A pooling without its step down is one of 3x3 pixels, as in SSD, https://arxiv.org/abs/1512.02325.
    """
    with torch.device("meta"):  # its classifier alone would take half a gigabyte
        features: nn.Sequential = models.vgg16(init_weights=False).features
    features.to_empty(device="cpu")
    channels = 0
    for index, layer in enumerate(features):
        if isinstance(layer, nn.Conv2d):  # torchvision's own first weights
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.constant_(layer.get_parameter("bias"), 0)
            channels = layer.out_channels
        elif isinstance(layer, nn.ReLU):
            features[index] = nn.Sequential(norm(channels), layer)
    if stride < 32:
        features[30] = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)
    if stride < 16:
        features[23] = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)
        for layer in features[24:30]:
            if isinstance(layer, nn.Conv2d):
                layer.dilation = layer.padding = (2, 2)
    return features


def mobilenet_v2(norm: Norm, stride: int) -> nn.Module:
    """Return the features of MobileNetV2, https://arxiv.org/abs/1801.04381."""
    features: nn.Sequential = models.mobilenet_v2(norm_layer=norm).features
    _dilate(features, {16: 7, 32: 14}, stride)
    return features


def mobilenet_v3_large(norm: Norm, stride: int) -> nn.Module:
    """Return the features of MobileNetV3-Large, https://arxiv.org/abs/1905.02244."""
    features: nn.Sequential = models.mobilenet_v3_large(norm_layer=norm).features
    _dilate(features, {16: 7, 32: 13}, stride)
    return features


def _dilate(features: nn.Sequential, steps: dict[int, int], stride: int) -> None:
    """Leave out the steps to more than `stride`, as torchvision does it in ResNet.

    A block without its step still looks at its neighbours; those after it look twice as far. So a
    pixel that the plain network has too is computed from the same pixels.

    Parameters
    ----------
    features : Sequential
        Blocks in which only depthwise convolutions see neighbours.
    steps : dict
        From a stride to the index of the block that steps down to it.
    stride : int
        Of the last map.
    """
    left_out = {block for reached, block in steps.items() if reached > stride}
    dilation = 1
    for index, block in enumerate(features):
        for unit in block.modules():
            if not isinstance(unit, nn.Sequential):
                continue
            layer = unit[0]
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                if index in left_out:
                    layer.stride = (1, 1)
                if dilation > 1:
                    unit[0] = _dilated(layer, dilation)
        if index in left_out:
            dilation *= 2


def _dilated(layer: nn.Conv2d, dilation: int) -> nn.Conv2d:
    channels, (kernel, _) = layer.out_channels, layer.kernel_size
    # For larger kernels than 3x3, phases take longer than dilation.
    kind = PhaseConv2d if kernel == 3 else nn.Conv2d
    dilated = kind(
        channels,
        channels,
        kernel,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=channels,
        bias=False,
    )
    dilated.weight = layer.weight
    return dilated


class PhaseConv2d(nn.Conv2d):
    """A dilated depthwise convolution that, to be trained, is computed phase by phase.

    Only pixels that are a dilation apart see each other: they are put into channels of their own,
    convolved without dilation, and put back. The sums are the same; on a CPU, torch's backward pass
    of the dilated form takes ten times as long. Edges of the map are multiples of the dilation,
    since a detector pads its images to multiples of 32 pixels.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the map of `x`, float (batch, channels, height, width)."""
        if not torch.is_grad_enabled():
            return super().forward(x)
        step = self.dilation[0]
        weight = self.weight.repeat_interleave(step**2, dim=0)
        phases = functional.pixel_unshuffle(x, step)
        reach = self.kernel_size[0] // 2
        phases = functional.conv2d(phases, weight, padding=reach, groups=len(weight))
        return functional.pixel_shuffle(phases, step)


def _numbered(*channels: int) -> dict[str, int]:
    return {str(index): count for index, count in enumerate(channels)}


BACKBONE: dict[Backbone, Entry] = {
    "resnet50": Entry(
        stages=resnet50,
        channels={"maxpool": 64, "layer1": 256, "layer2": 512, "layer3": 1024, "layer4": 2048},
        maps=("layer1", "layer2", "layer3", "layer4"),
        sites=("maxpool", "layer4"),
        pyramid=True,
        paper="coco",
        starts=("conv1", "layer1", "layer2", "layer3", "layer4"),
        trainable_layers=3,
        published={
            "coco": Published(
                detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
                STAGES_PREFIX,
                eps=0.0,
                whole=True,
            ),
            "imagenet": Published(models.ResNet50_Weights.IMAGENET1K_V1, ""),
        },
    ),
    "vgg16": Entry(
        stages=vgg16,
        # After the pooling layers, and before those that give a map of the pyramid.
        channels={
            "4": 64,
            "9": 128,
            "15": 256,
            "16": 256,
            "22": 512,
            "23": 512,
            "29": 512,
            "30": 512,
        },
        maps=("15", "22", "29", "30"),
        sites=("4", "30"),
        pyramid=False,
        paper="imagenet",
        # Those of torchvision's SSD, its one detector with this backbone.
        starts=("0", "4", "9", "16", "23"),
        trainable_layers=4,
        published={"imagenet": Published(models.VGG16_Weights.IMAGENET1K_V1, "features.")},
        published_norms=False,
    ),
    "mobilenet_v2": Entry(
        stages=mobilenet_v2,
        channels=_numbered(
            32, 16, *[24] * 2, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320, 1280
        ),
        maps=("3", "6", "13", "18"),
        sites=("1", "18"),
        pyramid=False,
        paper="imagenet",
        # torchvision has no detector with this backbone: its rule for MobileNetV3.
        starts=("0", "2", "4", "7", "14", "18"),
        trainable_layers=3,
        published={
            "imagenet": Published(models.MobileNet_V2_Weights.IMAGENET1K_V1, "features."),
        },
    ),
    "mobilenet_v3_large": Entry(
        stages=mobilenet_v3_large,
        channels=_numbered(*[16] * 2, *[24] * 2, *[40] * 3, *[80] * 4, *[112] * 2, *[160] * 3, 960),
        maps=("3", "6", "12", "16"),
        sites=("1", "16"),
        pyramid=False,
        paper="imagenet",
        starts=("0", "2", "4", "7", "13", "16"),
        trainable_layers=3,
        published={
            # Its pyramid has two maps, both of stride 32: 48 mm on a grid of 1.5 mm.
            "coco": Published(
                detection.FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1, STAGES_PREFIX
            ),
            "imagenet": Published(
                models.MobileNet_V3_Large_Weights.IMAGENET1K_V1, "features.", eps=1e-3
            ),
        },
    ),
}


def has_pyramid(config: Detector, backbone: Backbone) -> bool:
    """Return whether the backbone gives five maps, not one (docs/interpretations.md#7)."""
    return BACKBONE[backbone].pyramid if config.fpn == "auto" else config.fpn


def start_weights(config: Detector, backbone: Backbone) -> str:
    """Return ``config.weights``, with ``paper`` replaced by what that is for this backbone.

    docs/interpretations.md#7

    Examples
    --------
    >>> start_weights(Detector(weights="paper"), "resnet50")
    'coco'
    """
    return BACKBONE[backbone].paper if config.weights == "paper" else config.weights


def published_weights(backbone: Backbone, name: str) -> Published:
    """Return torchvision's checkpoint `name` of a backbone.

    Raises
    ------
    UserError
        If torchvision has published none.
    """
    published = BACKBONE[backbone].published
    if name not in published:
        raise UserError(
            f"config detector.weights = {name}",
            expected=f"what torchvision has published for {backbone}: {', '.join(published)}",
            came="no such checkpoint",
            remedy="set it to paper, which takes for each backbone what there is",
        )
    return published[name]


def attention_channels(backbone: Backbone, sites: tuple[str, ...] | None) -> dict[str, int]:
    """Return the channels at each attention site, in the order of `sites` or of the default.

    Raises
    ------
    UserError
        If the backbone has no such stage.

    Examples
    --------
    >>> attention_channels("resnet50", None)
    {'maxpool': 64, 'layer4': 2048}
    """
    entry = BACKBONE[backbone]
    unknown = [site for site in sites or () if site not in entry.channels]
    if unknown:
        raise UserError(
            "config detector.attention.sites",
            expected=f"stages of {backbone}: {', '.join(entry.channels)}",
            came=", ".join(unknown),
            remedy="correct it, or leave it out for the sites of the paper",
        )
    return {site: entry.channels[site] for site in sites or entry.sites}


class OneMap(nn.Module):
    """The last map alone, its channels reduced as torchvision's MobileNet without a pyramid does.

    Parameters
    ----------
    stages : Module
        The stages, as its children.
    stage : str
        The one that gives the map.
    channels : int
        Of that map.
    """

    def __init__(self, stages: nn.Module, stage: str, channels: int) -> None:
        super().__init__()
        self.body = IntermediateLayerGetter(stages, {stage: "0"})
        self.reduce = nn.Conv2d(channels, _MAP_CHANNELS, kernel_size=1)
        self.out_channels = _MAP_CHANNELS

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the map of images (batch, 3, height, width), named as a pyramid's first."""
        return {"0": self.reduce(self.body(x)["0"])}


Maps: TypeAlias = BackboneWithFPN | OneMap
"""Stages as the children of ``body``; ``body.return_layers`` says which of them give a map."""


def build_backbone(name: Backbone, norm: Norm, *, stride: int | None, trained: int) -> Maps:
    """Return a backbone without attention.

    Parameters
    ----------
    name : str
    norm : callable
    stride : int or None
        Of the one map: 8, 16 or 32. None: a pyramid.
    trained : int
        How many groups of its stages train, counted from the last.
    """
    entry = BACKBONE[name]
    stages = entry.stages(norm, stride or 32)
    channels = [entry.channels[stage] for stage in entry.maps]
    network: Maps
    if stride is None:
        returned = {stage: str(index) for index, stage in enumerate(entry.maps)}
        network = BackboneWithFPN(stages, returned, channels, _MAP_CHANNELS)
    else:
        network = OneMap(stages, entry.maps[-1], channels[-1])
    first_trained = (*entry.starts, "")[len(entry.starts) - trained]
    for stage, module in network.body.items():
        if stage == first_trained:
            break
        module.requires_grad_(False)
    return network


def insert_attention(backbone: Maps, modules: Mapping[str, nn.Module]) -> None:
    """Put each module after the stage that is its key, as a child named by `ATTENTION_PREFIX`.

    The stages keep their names, and with them the tensors of a checkpoint. Where a stage gave a
    feature map, the module after it gives that map instead.

    Parameters
    ----------
    backbone : Maps
    modules : mapping
        From a stage's name to the module.
    """
    body = backbone.body
    stages = list(body.items())
    body.clear()
    for name, stage in stages:
        body[name] = stage
        if name in modules:
            body[ATTENTION_PREFIX + name] = modules[name]
    body.return_layers = {
        ATTENTION_PREFIX + name if name in modules else name: output
        for name, output in body.return_layers.items()
    }
