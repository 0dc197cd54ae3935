"""The registry against the readings."""

import pytest
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

from dsnet.config.detector import Backbone, Detector
from dsnet.detect.backbone import (
    BACKBONE,
    attention_channels,
    checkpoint,
    has_pyramid,
    start_weights,
)
from dsnet.errors import UserError


def test_sites_are_those_of_reading_6() -> None:
    assert {name: attention_channels(name, None) for name in BACKBONE} == {
        "resnet50": {"maxpool": 64, "layer4": 2048},
        "vgg16": {"4": 64, "30": 512},
        "mobilenet_v2": {"1": 16, "18": 1280},
        "mobilenet_v3_large": {"1": 16, "16": 960},
    }


@pytest.mark.parametrize("name", BACKBONE)
def test_neck_and_weights_are_those_of_reading_7(name: Backbone) -> None:
    is_resnet = name == "resnet50"
    assert has_pyramid(Detector(), name) is is_resnet
    assert [has_pyramid(Detector(fpn=fpn), name) for fpn in (True, False)] == [True, False]
    assert start_weights(Detector(weights="paper"), name) == ("coco" if is_resnet else "imagenet")
    assert start_weights(Detector(weights="mine.pt"), name) == "mine.pt"


def test_the_checkpoints_are_torchvision_s() -> None:
    assert {
        (name, key): made.weights
        for name, entry in BACKBONE.items()
        for key, made in entry.published.items()
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
        checkpoint(name, "coco")
