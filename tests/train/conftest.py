"""A detector that trains in a second."""

import pytest
from support.small_training import SMALL, Head
from torchvision.models.detection import faster_rcnn

from dsnet.detect import device, neck
from dsnet.detect.backbone import BACKBONE


@pytest.fixture
def small_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a few convolutions in the place of ResNet50, on one CPU.

    Two threads that wait for each other in each small layer are ten times slower than one as soon
    as anything else runs on the machine.
    """
    monkeypatch.setitem(BACKBONE, "resnet50", SMALL)
    monkeypatch.setattr(neck, "_CHANNELS", 32)
    monkeypatch.setattr(faster_rcnn, "TwoMLPHead", Head)
    monkeypatch.setattr(device, "cpus", lambda: 1)
