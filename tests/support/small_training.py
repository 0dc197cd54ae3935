"""A detector that trains in a second; as a script, the training step with it."""

from collections import OrderedDict
from dataclasses import replace
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import faster_rcnn

from dsnet.detect import device, neck
from dsnet.detect.backbone import BACKBONE
from dsnet.detect.body import Norm
from dsnet.step import run
from dsnet.train.step import train

STAGES = {"conv1": 8, "maxpool": 8, "layer1": 8, "layer2": 16, "layer3": 16, "layer4": 32}


def body(norm: Norm, *_form: Any) -> nn.Module:
    """Return a convolution for each of ResNet50's stages."""
    stages = [
        nn.Sequential(nn.Conv2d(before, after, 3, 2, 1, bias=False), norm(after), nn.ReLU())
        for before, after in pairwise([3, *STAGES.values()])
    ]
    stages[1] = nn.Identity()
    return nn.Sequential(OrderedDict(zip(STAGES, stages, strict=True)))


SMALL = replace(BACKBONE["resnet50"], body=body, channels=STAGES)


class Head(nn.Module):
    """A narrow neck in the place of fc6, which holds half of a detector's weights."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.fc6, self.fc7 = nn.Linear(channels, 16), nn.Linear(16, features)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of pooled regions."""
        return self.fc7(self.fc6(x.flatten(start_dim=1)).relu()).relu()


if __name__ == "__main__":
    BACKBONE["resnet50"] = SMALL
    neck._CHANNELS = 32
    faster_rcnn.TwoMLPHead = Head
    device.cpus = lambda: 1
    run(train)
