"""Selective kernels.

X. Li, W. Wang, X. Hu, J. Yang, "Selective Kernel Networks", CVPR 2019,
https://arxiv.org/abs/1903.06586
"""

import torch
from torch import Tensor, nn

from dsnet.detect.attention.branches import Branch5, small_and_large


class SK(nn.Module):
    """Choose, channel by channel, between two scales.

    The branches are summed first, and one pooled vector decides for both: that is what DS changes.

    Parameters
    ----------
    channels : int
        Channels of the map, in and out.
    groups : int
        Groups of both convolutions; 32 in the paper.
    branch5 : {"conv5", "dilated3"}
        The second branch; the paper says the first and uses the second to save weights.
    reduction, narrowest : int
        The hidden layer has channels / reduction units, at least `narrowest`; 16 and 32 in the
        paper.
    """

    def __init__(
        self,
        channels: int,
        *,
        groups: int = 32,
        branch5: Branch5 = "conv5",
        reduction: int = 16,
        narrowest: int = 32,
    ) -> None:
        super().__init__()
        hidden = max(narrowest, channels // reduction)
        self.small, self.large = small_and_large(channels, groups=groups, branch5=branch5)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Sequential(
            nn.Conv2d(channels, hidden, kernel_size=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
        )
        self.choose_small = nn.Conv2d(hidden, channels, kernel_size=1, bias=False)
        self.choose_large = nn.Conv2d(hidden, channels, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return a * small(x) + (1 - a) * large(x); shape and dtype as `x`."""
        small: Tensor = self.small(x)
        large: Tensor = self.large(x)
        hidden = self.squeeze(self.pool(small + large))
        choices = torch.stack([self.choose_small(hidden), self.choose_large(hidden)])
        share = choices.softmax(dim=0)
        return share[0] * small + share[1] * large
