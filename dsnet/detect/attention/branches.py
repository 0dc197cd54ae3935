"""The convolutions that SK and DS share: a branch of small and a branch of large scale."""

import math
from typing import Literal

from torch import nn

Branch5 = Literal["conv5", "dilated3"]


def convolution(
    channels: int, *, kernel: int, dilation: int = 1, groups: int = 32
) -> nn.Sequential:
    """Return a convolution that keeps channels and size, with norm and ReLU.

    Parameters
    ----------
    channels : int
    kernel : int
        Odd edge length in pixels.
    dilation : int
        Distance between the kernel's pixels.
    groups : int
        Most groups wanted; the greatest common divisor with `channels` is used
        (docs/interpretations.md#4).
    """
    return nn.Sequential(
        nn.Conv2d(
            channels,
            channels,
            kernel,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            groups=math.gcd(groups, channels),
            bias=False,
        ),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def small_and_large(
    channels: int, *, groups: int, branch5: Branch5
) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the 3x3 branch and the 5x5 branch.

    `branch5` says whether the second is a 5x5 convolution, or a 3x3 one of dilation 2, which sees
    as far with 9 weights instead of 25.
    """
    small = convolution(channels, kernel=3, groups=groups)
    if branch5 == "conv5":
        return small, convolution(channels, kernel=5, groups=groups)
    return small, convolution(channels, kernel=3, dilation=2, groups=groups)
