"""A backbone that trains in a second."""

from dataclasses import replace

import pytest
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone

from dsnet.detect.backbone import BACKBONE, Norm


@pytest.fixture
def small_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put ResNet18 in the place of ResNet50."""

    def build(norm: Norm, trainable_layers: int) -> BackboneWithFPN:
        return resnet_fpn_backbone(
            backbone_name="resnet18",
            weights=None,
            norm_layer=norm,
            trainable_layers=trainable_layers,
        )

    entry = replace(BACKBONE["resnet50"], build=build, channels={"maxpool": 64, "layer4": 512})
    monkeypatch.setitem(BACKBONE, "resnet50", entry)
