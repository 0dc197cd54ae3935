"""The stages of each backbone: torchvision's, as children by name in the order in which they run.

Each function takes the norm that follows a convolution and the stride of the last map: 32, or 16 or
8. For these the last steps down in resolution are left out, and what comes after them sees as far
as before by dilation. Weights keep their names and shapes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

Norm = Callable[[int], nn.Module]
"""From a number of channels to a normalising layer."""

Body = Callable[[Norm, int], nn.Module]
"""From a norm and the stride of the last map to the network; what follows that map is not run."""


def resnet50(norm: Norm, stride: int) -> nn.Module:
    """Return ResNet-50, https://arxiv.org/abs/1512.03385; dilated by torchvision."""
    dilated = [False, stride < 16, stride < 32]
    network: nn.Module = models.resnet50(norm_layer=norm, replace_stride_with_dilation=dilated)
    return network


def vgg16(_norm: Norm, stride: int) -> nn.Module:
    """Return the features of VGG-16 without norms, https://arxiv.org/abs/1409.1556.

    A pooling without its step down is one of 3x3 pixels, as in SSD, https://arxiv.org/abs/1512.02325.
    """
    with torch.device("meta"):  # its classifier alone would take half a gigabyte
        features: nn.Sequential = models.vgg16(init_weights=False).features
    features.to_empty(device="cpu")
    for layer in features:
        if isinstance(layer, nn.Conv2d):  # torchvision's own first weights
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.constant_(layer.get_parameter("bias"), 0)
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


class Phases(nn.Conv2d):
    """A dilated depthwise convolution that, to be trained, is computed phase by phase.

    Pixels that are a dilation apart see each other alone: they are put into channels of their own,
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


def _dilate(features: nn.Sequential, steps: dict[int, int], stride: int) -> None:
    """Leave out the steps to more than `stride`, as torchvision does it in ResNet.

    A block without its step still looks at its neighbours; those after it look twice as far. So a
    pixel that the plain network has too is computed from the same pixels.

    Parameters
    ----------
    features : Sequential
        Blocks whose depthwise convolutions alone see neighbours.
    steps : dict
        From a stride to the block that steps down to it.
    stride : int
        Of the last map.
    """
    left_out = {block for reached, block in steps.items() if reached > stride}
    dilation = 1
    for place, block in enumerate(features):
        for unit in block.modules():
            if not isinstance(unit, nn.Sequential):
                continue
            layer = unit[0]
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                if place in left_out:
                    layer.stride = (1, 1)
                if dilation > 1:
                    unit[0] = _dilated(layer, dilation)
        if place in left_out:
            dilation *= 2


def _dilated(layer: nn.Conv2d, dilation: int) -> nn.Conv2d:
    channels, (kernel, _) = layer.out_channels, layer.kernel_size
    # For larger kernels than 3x3, phases take longer than dilation.
    kind = Phases if kernel == 3 else nn.Conv2d
    made = kind(
        channels,
        channels,
        kernel,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=channels,
        bias=False,
    )
    made.weight = layer.weight
    return made
