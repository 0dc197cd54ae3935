"""The registry of backbones: stages, maps, checkpoints, sites of attention (readings 6, 7, 9)."""

from collections.abc import Mapping
from dataclasses import dataclass

from torchvision import models
from torchvision.models import WeightsEnum, detection

from dsnet.config.detector import Backbone, Detector
from dsnet.detect.body import Body, mobilenet_v2, mobilenet_v3_large, resnet50, vgg16
from dsnet.errors import UserError

ATTENDED = "attention_"
"""How the name of a child begins that holds attention; the rest names the stage before it."""

BODY = "backbone.body."
"""How the names of the stages' tensors begin in a detector."""

PUBLISHED = ("imagenet", "coco")
"""The keys of torchvision's checkpoints."""


@dataclass(frozen=True)
class Published:
    """A checkpoint of torchvision's.

    Attributes
    ----------
    weights : WeightsEnum
    body : str
        How the names of the stages' tensors begin in it.
    eps : float
        What its norms added to the variance when it was trained.
    whole : bool
        Whether, with a pyramid, all of the detector is in it.
    """

    weights: WeightsEnum
    body: str
    eps: float = 1e-5
    whole: bool = False


@dataclass(frozen=True)
class Entry:
    """What the detector has to know of a backbone.

    Attributes
    ----------
    body : callable
        Makes its stages.
    channels : mapping
        Channels of the map behind each stage after which attention may stand.
    maps : tuple of str
        The last stages of strides 4, 8, 16 and 32: what a pyramid stands on. Without a pyramid the
        last of them gives the one map, dilated to a finer stride if need be.
    sites : tuple of str
        The stages after which attention stands by default (docs/interpretations.md#6).
    pyramid : bool
        Whether there is a pyramid by default (docs/interpretations.md#7).
    paper : str
        The key of `published` from which the paper's training started (docs/interpretations.md#7).
    starts : tuple of str
        Where each part begins that trains or is frozen as one; torchvision's.
    trainable_layers : int
        How many of these parts, from the last, train by default when pretrained; torchvision's.
    published : mapping
        From a key of `PUBLISHED`, as far as there is one.
    """

    body: Body
    channels: Mapping[str, int]
    maps: tuple[str, str, str, str]
    sites: tuple[str, ...]
    pyramid: bool
    paper: str
    starts: tuple[str, ...]
    trainable_layers: int
    published: Mapping[str, Published]


def _numbered(*channels: int) -> dict[str, int]:
    return {str(place): count for place, count in enumerate(channels)}


BACKBONE: dict[Backbone, Entry] = {
    "resnet50": Entry(
        body=resnet50,
        channels={"maxpool": 64, "layer1": 256, "layer2": 512, "layer3": 1024, "layer4": 2048},
        maps=("layer1", "layer2", "layer3", "layer4"),
        sites=("maxpool", "layer4"),
        pyramid=True,
        paper="coco",
        starts=("conv1", "layer1", "layer2", "layer3", "layer4"),
        trainable_layers=3,
        published={
            "coco": Published(
                detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1, BODY, eps=0.0, whole=True
            ),
            "imagenet": Published(models.ResNet50_Weights.IMAGENET1K_V1, ""),
        },
    ),
    "vgg16": Entry(
        body=vgg16,
        # Behind the pooling stages, and before those that a map of the pyramid comes from.
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
    ),
    "mobilenet_v2": Entry(
        body=mobilenet_v2,
        channels=_numbered(
            32, 16, *[24] * 2, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320, 1280
        ),
        maps=("3", "6", "13", "18"),
        sites=("1", "18"),
        pyramid=False,
        paper="imagenet",
        # torchvision has no detector with this backbone: as with MobileNetV3.
        starts=("0", "2", "4", "7", "14", "18"),
        trainable_layers=3,
        published={
            "imagenet": Published(models.MobileNet_V2_Weights.IMAGENET1K_V1, "features."),
        },
    ),
    "mobilenet_v3_large": Entry(
        body=mobilenet_v3_large,
        channels=_numbered(*[16] * 2, *[24] * 2, *[40] * 3, *[80] * 4, *[112] * 2, *[160] * 3, 960),
        maps=("3", "6", "12", "16"),
        sites=("1", "16"),
        pyramid=False,
        paper="imagenet",
        starts=("0", "2", "4", "7", "13", "16"),
        trainable_layers=3,
        published={
            # Its pyramid has two maps, both of stride 32: 48 mm on a grid of 1.5 mm.
            "coco": Published(detection.FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1, BODY),
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
    """Return ``config.weights``, but for ``paper`` what that is for this backbone.

    docs/interpretations.md#7
    """
    return BACKBONE[backbone].paper if config.weights == "paper" else config.weights


def checkpoint(backbone: Backbone, name: str) -> Published:
    """Return the checkpoint `name` of a backbone.

    Raises
    ------
    UserError
        If torchvision has published none.
    """
    known = BACKBONE[backbone].published
    if name not in known:
        raise UserError(
            f"config detector.weights = {name}",
            expected=f"what torchvision has published for {backbone}: {', '.join(known)}",
            came="no such checkpoint",
            remedy="set it to paper, which takes for each backbone what there is",
        )
    return known[name]


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
