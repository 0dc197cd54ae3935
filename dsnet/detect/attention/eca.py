"""Efficient channel attention.

Q. Wang, B. Wu, P. Zhu, P. Li, W. Zuo, Q. Hu, "ECA-Net: Efficient Channel Attention for Deep
Convolutional Neural Networks", CVPR 2020, https://arxiv.org/abs/1910.03151
"""

import math

from torch import Tensor, nn


class ECA(nn.Module):
    """Weight each channel by what its neighbours say: y = x * sigmoid(conv1d(pool(x))).

    Parameters
    ----------
    channels : int
        Channels of the map, in and out.
    gamma, b : float
        From the channels to the kernel (equation 12 of the paper); 2 and 1 there.
    """

    def __init__(self, channels: int, *, gamma: float = 2.0, b: float = 1.0) -> None:
        super().__init__()
        kernel = kernel_size(channels, gamma=gamma, b=b)
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted map; float (batch, channels, height, width), as `x`."""
        pooled = x.mean(dim=(2, 3))
        weight: Tensor = self.conv(pooled[:, None])[:, 0].sigmoid()
        return x * weight[:, :, None, None]


def kernel_size(channels: int, *, gamma: float, b: float) -> int:
    """Return how many neighbouring channels speak: |log2(channels) + b| / gamma, made odd.

    Cut to a whole number and, if that is even, one more, as in the authors' code; at least 3, as
    in timm: one channel alone would tell nothing of its neighbours.
    """
    reach = int(abs(math.log2(channels) + b) / gamma)
    return max(3, reach + 1 - reach % 2)
