"""A detector that trains in a second; as a script, the training step with it.

In a scratch clone it is a module of the package, which the backbones import (`support.scratch`).
"""

from collections import OrderedDict
from dataclasses import replace
from itertools import pairwise

from torch import Tensor, nn
from torchvision.models.detection import faster_rcnn

from dsnet.detect import backbone, device
from dsnet.detect.backbone import BACKBONE, Norm

CHANNELS = {"conv1": 8, "maxpool": 8, "layer1": 8, "layer2": 16, "layer3": 16, "layer4": 32}


def stages(norm: Norm, _stride: int) -> nn.Module:
    """Return a convolution for each of ResNet50's stages."""
    modules = [
        nn.Sequential(nn.Conv2d(before, after, 3, 2, 1, bias=False), norm(after), nn.ReLU())
        for before, after in pairwise([3, *CHANNELS.values()])
    ]
    modules[1] = nn.Identity()
    return nn.Sequential(OrderedDict(zip(CHANNELS, modules, strict=True)))


class Head(nn.Module):
    """A narrow replacement of torchvision's box head, which holds half of a detector's weights."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.fc6, self.fc7 = nn.Linear(channels, 16), nn.Linear(16, features)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of pooled regions."""
        return self.fc7(self.fc6(x.flatten(start_dim=1)).relu()).relu()


SMALL = replace(BACKBONE["resnet50"], stages=stages, channels=CHANNELS)

REPLACED = (
    (backbone, "_MAP_CHANNELS", 32),
    (faster_rcnn, "TwoMLPHead", Head),
    # Two threads that wait for each other in each small layer are ten times slower than one as soon
    # as anything else runs on the machine.
    (device, "cpus", lambda: 1),
)
"""What else is replaced: owner, attribute, value."""


def use_small_detector() -> None:
    """Replace ResNet50 by a few convolutions on one CPU, for the rest of the process."""
    BACKBONE["resnet50"] = SMALL
    for owner, name, value in REPLACED:
        setattr(owner, name, value)


if __name__ == "__main__":
    from dsnet.step import run
    from dsnet.train.step import train

    use_small_detector()
    run(train)
