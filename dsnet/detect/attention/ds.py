"""Dual-selective channel attention, the module of the paper.

L. Xue et al., Acadlore Trans. Mach. Learn. 1(1), 2022, https://doi.org/10.56578/ataiml010105,
section 2.3 and figure 2c, under readings 1 to 4.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from dsnet.detect.attention.branches import Branch5, convolution, small_and_large

GateKind = Literal["sigmoid", "linear", "softmax"]
FuseKind = Literal["dilated3", "none"]


class DS(nn.Module):
    """Weight two scales, each by its own gate, BEFORE they are summed; then fuse.

    Parameters
    ----------
    channels : int
        Channels of the map, in and out.
    groups : int
        Groups of the spatial convolutions, at most; the affine layers of the gates are full.
    branch5 : {"conv5", "dilated3"}
        The branch of large scale.
    fuse : {"dilated3", "none"}
        What follows the sum: a 3x3 convolution of dilation 2 (norm, ReLU), or nothing.
    gate : {"sigmoid", "linear", "softmax"}
        What follows the affine layer. With softmax the two branches compete for each channel.
    reduction : int
        1: the affine layer is one. Else two with a ReLU between, the hidden one narrower by this.
    second_gate : bool
        Weight once more after fusion. It stands alone, so its softmax is a sigmoid.
    """

    def __init__(
        self,
        channels: int,
        *,
        groups: int = 32,
        branch5: Branch5 = "conv5",
        fuse: FuseKind = "dilated3",
        gate: GateKind = "sigmoid",
        reduction: int = 1,
        second_gate: bool = False,
    ) -> None:
        super().__init__()
        self.gate = gate
        self.small, self.large = small_and_large(channels, groups=groups, branch5=branch5)
        self.weigh_small = _pool_and_affine(channels, reduction)
        self.weigh_large = _pool_and_affine(channels, reduction)
        self.fuse = (
            convolution(channels, kernel=3, dilation=2, groups=groups)
            if fuse == "dilated3"
            else nn.Identity()
        )
        self.weigh_fused = _pool_and_affine(channels, reduction) if second_gate else None

    def forward(self, x: Tensor) -> Tensor:
        """Return fuse(g3 * small(x) + g5 * large(x)); shape and dtype as `x`."""
        small: Tensor = self.small(x)
        large: Tensor = self.large(x)
        gates = self._activate(torch.stack([self.weigh_small(small), self.weigh_large(large)]))
        fused: Tensor = self.fuse(gates[0] * small + gates[1] * large)
        if self.weigh_fused is None:
            return fused
        weight: Tensor = self.weigh_fused(fused)
        return fused * (weight if self.gate == "linear" else weight.sigmoid())

    def _activate(self, weights: Tensor) -> Tensor:
        """Return the gates from the affine outputs (2, batch, channels, 1, 1)."""
        if self.gate == "softmax":
            return weights.softmax(dim=0)
        return weights.sigmoid() if self.gate == "sigmoid" else weights


def _pool_and_affine(channels: int, reduction: int) -> nn.Sequential:
    """Return equations 1 and 2: global average pooling, then x W + B."""
    if reduction == 1:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, kernel_size=1))
    hidden = max(1, channels // reduction)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(channels, hidden, kernel_size=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, channels, kernel_size=1),
    )
