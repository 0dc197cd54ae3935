"""From the stages of a backbone to the maps that the heads see (docs/interpretations.md#7)."""

from collections.abc import Mapping
from typing import TypeAlias

from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.backbone_utils import BackboneWithFPN

from dsnet.config.detector import Backbone
from dsnet.detect.backbone import ATTENDED, BACKBONE
from dsnet.detect.body import Norm

_CHANNELS = 256  # of each map that the heads see, as in torchvision


class OneMap(nn.Module):
    """The last map alone, its channels reduced as torchvision's MobileNet without a pyramid does.

    Parameters
    ----------
    body : Module
        The stages, as its children.
    stage : str
        The one that gives the map.
    channels : int
        Of that map.
    """

    def __init__(self, body: nn.Module, stage: str, channels: int) -> None:
        super().__init__()
        self.body = IntermediateLayerGetter(body, {stage: "0"})
        self.reduce = nn.Conv2d(channels, _CHANNELS, kernel_size=1)
        self.out_channels = _CHANNELS

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the map of images (batch, 3, height, width), named as a pyramid's first."""
        return {"0": self.reduce(self.body(x)["0"])}


Network: TypeAlias = BackboneWithFPN | OneMap
"""Stages as the children of ``body``; ``body.return_layers`` says which of them give a map."""


def build_backbone(name: Backbone, norm: Norm, *, stride: int | None, trained: int) -> Network:
    """Return a backbone without attention.

    Parameters
    ----------
    name : str
    norm : callable
    stride : int or None
        Of the one map: 8, 16 or 32. None: a pyramid of five maps of strides 4, 8, 16, 32 and 64.
    trained : int
        How many of its parts train, counted from the last.
    """
    entry = BACKBONE[name]
    body = entry.body(norm, stride or 32)
    channels = [entry.channels[stage] for stage in entry.maps]
    network: Network
    if stride is None:
        returned = {stage: str(place) for place, stage in enumerate(entry.maps)}
        network = BackboneWithFPN(body, returned, channels, _CHANNELS)
    else:
        network = OneMap(body, entry.maps[-1], channels[-1])
    first_trained = (*entry.starts, "")[len(entry.starts) - trained]
    for stage, module in network.body.items():
        if stage == first_trained:
            break
        module.requires_grad_(False)
    return network


def insert(backbone: Network, modules: Mapping[str, nn.Module]) -> None:
    """Put each module behind the stage that it is keyed by, as a child named by `ATTENDED`.

    The stages keep their names, and with them the tensors of a checkpoint. Where a stage gave a
    feature map, the module behind it gives that map instead.

    Parameters
    ----------
    backbone : Network
    modules : mapping
        From a stage's name to the module.
    """
    body = backbone.body
    stages = list(body.items())
    body.clear()
    for name, stage in stages:
        body[name] = stage
        if name in modules:
            body[ATTENDED + name] = modules[name]
    body.return_layers = {
        ATTENDED + name if name in modules else name: output
        for name, output in body.return_layers.items()
    }
