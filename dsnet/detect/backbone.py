"""The backbones: how each is built, and where attention may stand in it (reading 6)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn
from torchvision.models import ResNet50_Weights, WeightsEnum
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone

from dsnet.config import Backbone
from dsnet.errors import UserError

Norm = Callable[[int], nn.Module]
"""From a number of channels to a normalising layer."""


ATTENDED = "attention_"
"""How the name of a child begins that holds attention; the rest names the stage before it."""


@dataclass(frozen=True)
class Entry:
    """What the detector has to know of a backbone.

    Attributes
    ----------
    build : callable
        From a norm and the number of stages that train, counted from the last, to the network; its
        child ``body`` holds the stages by name, in the order in which they run.
    channels : mapping
        Channels of the map behind each stage after which attention may stand.
    sites : tuple of str
        The stages after which it stands by default.
    trainable_layers : int
        Stages that train by torchvision's default when the weights are pretrained.
    all_layers : int
        Stages that train when they are not.
    published : mapping
        torchvision's checkpoints: ``coco`` for the whole detector, ``imagenet`` for the backbone.
    """

    build: Callable[[Norm, int], BackboneWithFPN]
    channels: Mapping[str, int]
    sites: tuple[str, ...]
    trainable_layers: int
    all_layers: int
    published: Mapping[str, WeightsEnum]


def _resnet50(norm: Norm, trainable_layers: int) -> BackboneWithFPN:
    return resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=norm, trainable_layers=trainable_layers
    )


BACKBONE: dict[Backbone, Entry] = {
    "resnet50": Entry(
        build=_resnet50,
        channels={"maxpool": 64, "layer1": 256, "layer2": 512, "layer3": 1024, "layer4": 2048},
        sites=("maxpool", "layer4"),
        trainable_layers=3,
        all_layers=5,
        published={
            "coco": FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
            "imagenet": ResNet50_Weights.IMAGENET1K_V1,
        },
    ),
}


def attention_channels(backbone: Backbone, sites: tuple[str, ...] | None) -> dict[str, int]:
    """Return the channels at each site, in the order of `sites` or of the default.

    Raises
    ------
    UserError
        If the backbone has no such stage.
    """
    entry = BACKBONE[backbone]
    strange = [site for site in sites or () if site not in entry.channels]
    if strange:
        raise UserError(
            "config detector.attention.sites",
            expected=f"stages of {backbone}: {', '.join(entry.channels)}",
            came=", ".join(strange),
            remedy="correct it, or leave it out for the sites of the paper",
        )
    return {site: entry.channels[site] for site in sites or entry.sites}


def insert(backbone: BackboneWithFPN, modules: Mapping[str, nn.Module]) -> None:
    """Put each module behind the stage that it is keyed by, as a child named by `ATTENDED`.

    The stages keep their names, and with them the tensors of a checkpoint. Where a stage gave a
    feature map, the module behind it gives that map instead.

    Parameters
    ----------
    backbone : BackboneWithFPN
        Whose body runs its children in order; ``return_layers`` says which of them give a map.
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
