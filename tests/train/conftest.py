"""A detector that trains in a second."""

import pytest
from support.small_training import REPLACED, SMALL

from dsnet.detect.backbone import BACKBONE


@pytest.fixture
def small_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace ResNet50 by a few convolutions on one CPU."""
    monkeypatch.setitem(BACKBONE, "resnet50", SMALL)
    for owner, name, value in REPLACED:
        monkeypatch.setattr(owner, name, value)
