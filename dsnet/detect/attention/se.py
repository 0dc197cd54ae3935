"""Squeeze and excitation.

J. Hu, L. Shen, G. Sun, "Squeeze-and-Excitation Networks", CVPR 2018, https://arxiv.org/abs/1709.01507
"""

from torch import Tensor, nn


class SE(nn.Module):
    """Weight each channel by what the whole map says: y = x * sigmoid(W2 relu(W1 pool(x))).

    Parameters
    ----------
    channels : int
        Channels of the map, in and out.
    reduction : int
        By how much the hidden layer is narrower; 16 in the paper.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, hidden, kernel_size=1)
        self.excite = nn.Conv2d(hidden, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted map; float (batch, channels, height, width), as `x`."""
        hidden = self.squeeze(self.pool(x)).relu()
        weight: Tensor = self.excite(hidden).sigmoid()
        return x * weight
