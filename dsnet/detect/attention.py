"""Channel attention: SE, ECA, SK and the paper's DS, each on one screen, and their registry.

Every mechanism maps features, float (batch, channels, height, width), to features of the same shape
and dtype.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from dsnet.config.detector import Attention, AttentionOptions

Branch5 = Literal["conv5", "dilated3"]
GateKind = Literal["sigmoid", "linear", "softmax"]
FuseKind = Literal["dilated3", "none"]


class SE(nn.Module):
    """Squeeze and excitation: y = x * sigmoid(W2 relu(W1 pool(x))).

    Parameters
    ----------
    channels : int
        Channels of the map, in and out.
    reduction : int
        The hidden layer has channels / reduction units; 16 in the paper.

    References
    ----------
    J. Hu, L. Shen, G. Sun, "Squeeze-and-Excitation Networks", CVPR 2018,
    https://arxiv.org/abs/1709.01507

    Examples
    --------
    >>> SE(64)(torch.rand(2, 64, 7, 5)).shape
    torch.Size([2, 64, 7, 5])
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, hidden, kernel_size=1)
        self.excite = nn.Conv2d(hidden, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted map, of the shape and dtype of `x`."""
        hidden = self.squeeze(self.pool(x)).relu()
        weight: Tensor = self.excite(hidden).sigmoid()
        return x * weight


class ECA(nn.Module):
    """Efficient channel attention: y = x * sigmoid(conv1d(pool(x))).

    The weight of a channel follows from the pooled values of a few neighbouring channels.

    Parameters
    ----------
    channels : int
        Channels of the map, in and out.
    gamma, b : float
        From the number of channels to that of neighbours (equation 12 of the paper); 2 and 1 there.

    References
    ----------
    Q. Wang, B. Wu, P. Zhu, P. Li, W. Zuo, Q. Hu, "ECA-Net: Efficient Channel Attention for Deep
    Convolutional Neural Networks", CVPR 2020, https://arxiv.org/abs/1910.03151

    Examples
    --------
    >>> ECA(64).conv.kernel_size, ECA(2048).conv.kernel_size
    ((3,), (7,))
    """

    def __init__(self, channels: int, *, gamma: float = 2.0, b: float = 1.0) -> None:
        super().__init__()
        # |log2(channels) + b| / gamma, cut to a whole number and made odd, as in the authors' code;
        # at least 3, as in timm: with 1 a channel would have no neighbours.
        kernel = int(abs(math.log2(channels) + b) / gamma)
        kernel = max(3, kernel + 1 - kernel % 2)
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted map, of the shape and dtype of `x`."""
        pooled = x.mean(dim=(2, 3))
        weight: Tensor = self.conv(pooled[:, None])[:, 0].sigmoid()
        return x * weight[:, :, None, None]


class SK(nn.Module):
    """Selective kernels: a choice between two scales for each channel.

    The branches are summed first, and one pooled vector decides for both: that is what DS changes.

    Parameters
    ----------
    channels : int
        Channels of the map, in and out.
    groups : int
        Groups of both convolutions, at most; 32 in the paper.
    branch5 : {"conv5", "dilated3"}
        The second branch; the paper describes the first and uses the second to save weights.
    reduction, narrowest : int
        The hidden layer has channels / reduction units, at least `narrowest`; 16 and 32 in the
        paper.

    References
    ----------
    X. Li, W. Wang, X. Hu, J. Yang, "Selective Kernel Networks", CVPR 2019,
    https://arxiv.org/abs/1903.06586

    Examples
    --------
    >>> SK(64)(torch.rand(2, 64, 7, 5)).shape
    torch.Size([2, 64, 7, 5])
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
        self.small, self.large = _two_scales(channels, groups=groups, branch5=branch5)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Sequential(
            nn.Conv2d(channels, hidden, kernel_size=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
        )
        self.choose_small = nn.Conv2d(hidden, channels, kernel_size=1, bias=False)
        self.choose_large = nn.Conv2d(hidden, channels, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return a * small(x) + (1 - a) * large(x), of the shape and dtype of `x`."""
        small: Tensor = self.small(x)
        large: Tensor = self.large(x)
        hidden = self.squeeze(self.pool(small + large))
        choices = torch.stack([self.choose_small(hidden), self.choose_large(hidden)])
        weights = choices.softmax(dim=0)
        return weights[0] * small + weights[1] * large


class DS(nn.Module):
    """Dual-selective attention: two scales, each weighted by its own gate BEFORE they are summed.

    Parameters
    ----------
    channels : int
        Channels of the map, in and out.
    groups : int
        Groups of the spatial convolutions, at most (docs/interpretations.md#4); the affine layers
        of the gates have none.
    branch5 : {"conv5", "dilated3"}
        The branch of large scale (docs/interpretations.md#1).
    fuse : {"dilated3", "none"}
        What follows the sum: a 3x3 convolution of dilation 2 (norm, ReLU), or nothing.
    gate : {"sigmoid", "linear", "softmax"}
        What follows the affine layer (docs/interpretations.md#2). With softmax the two branches
        compete for each channel.
    reduction : int
        1: one affine layer. Otherwise two with a ReLU between them, and channels / reduction units.
    second_gate : bool
        Weight once more after fusion (docs/interpretations.md#3). This gate has no competitor, so
        that softmax means sigmoid here.

    References
    ----------
    L. Xue et al., Acadlore Trans. Mach. Learn. 1(1), 2022, section 2.3 and figure 2c,
    https://doi.org/10.56578/ataiml010105

    Examples
    --------
    >>> DS(64)(torch.rand(2, 64, 7, 5)).shape
    torch.Size([2, 64, 7, 5])

    Grouped convolutions keep the module small where the map has 2,048 channels:

    >>> with torch.device("meta"):
    ...     sizes = [DS(2048, groups=groups) for groups in (32, 1)]
    >>> [round(sum(p.numel() for p in module.parameters()) / 1e6) for module in sizes]
    [14, 189]
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
        self.small, self.large = _two_scales(channels, groups=groups, branch5=branch5)
        self.weigh_small = _pool_and_affine(channels, reduction)
        self.weigh_large = _pool_and_affine(channels, reduction)
        self.fuse = (
            _convolution(channels, kernel=3, dilation=2, groups=groups)
            if fuse == "dilated3"
            else nn.Identity()
        )
        self.weigh_fused = _pool_and_affine(channels, reduction) if second_gate else None

    def forward(self, x: Tensor) -> Tensor:
        """Return fuse(g3 * small(x) + g5 * large(x)), of the shape and dtype of `x`."""
        small: Tensor = self.small(x)
        large: Tensor = self.large(x)
        gates = self._activate(torch.stack([self.weigh_small(small), self.weigh_large(large)]))
        fused: Tensor = self.fuse(gates[0] * small + gates[1] * large)
        if self.weigh_fused is None:
            return fused
        weight: Tensor = self.weigh_fused(fused)
        return fused * (weight if self.gate == "linear" else weight.sigmoid())

    def _activate(self, affine: Tensor) -> Tensor:
        """Return the gates from the outputs of both affine layers, (2, batch, channels, 1, 1)."""
        if self.gate == "softmax":
            return affine.softmax(dim=0)
        return affine.sigmoid() if self.gate == "sigmoid" else affine


def _pool_and_affine(channels: int, reduction: int) -> nn.Sequential:
    """Return equations 1 and 2 of the paper: global average pooling, then x W + B."""
    if reduction == 1:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, kernel_size=1))
    hidden = max(1, channels // reduction)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(channels, hidden, kernel_size=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, channels, kernel_size=1),
    )


def _two_scales(
    channels: int, *, groups: int, branch5: Branch5
) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the 3x3 branch and the 5x5 branch of SK and DS.

    The second is a 5x5 convolution, or a 3x3 one of dilation 2, which sees as far with 9 weights
    instead of 25.
    """
    small = _convolution(channels, kernel=3, groups=groups)
    if branch5 == "conv5":
        return small, _convolution(channels, kernel=5, groups=groups)
    return small, _convolution(channels, kernel=3, dilation=2, groups=groups)


def _convolution(channels: int, *, kernel: int, groups: int, dilation: int = 1) -> nn.Sequential:
    """Return a convolution that keeps channels and size, with norm and ReLU.

    It has gcd(groups, channels) groups (docs/interpretations.md#4).
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


class Residual(nn.Module):
    """y = x + gamma * A(x), with one number gamma that starts at 0 (docs/interpretations.md#5).

    A pretrained network keeps its features until training moves gamma. Weight decay, which would
    pull gamma back to 0, must leave it out; its value after training tells how much A contributes.
    Below 0, gamma would turn a gate round: SE's y = x (1 + gamma s) would give the channels of
    largest s the smallest weight. `project_gammas` keeps it out of there.

    Parameters
    ----------
    module : Module
        A: keeps the shape of its input.
    positive : bool
        Whether `project_gammas` applies.

    Examples
    --------
    >>> x = torch.rand(2, 16, 4, 4)
    >>> bool((Residual(SE(16))(x) == x).all())
    True
    """

    def __init__(self, module: nn.Module, *, positive: bool = True) -> None:
        super().__init__()
        self.module = module
        self.positive = positive
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return y, of the shape and dtype of `x`."""
        attended: Tensor = self.module(x)
        return x + self.gamma * attended


def residuals(network: nn.Module) -> dict[str, Residual]:
    """Return every `Residual` of `network` by its name."""
    return {
        name: module for name, module in network.named_modules() if isinstance(module, Residual)
    }


def project_gammas(network: nn.Module) -> None:
    """Set each gamma below 0 to 0, after a step of the optimiser: projected gradient descent."""
    with torch.no_grad():
        for residual in residuals(network).values():
            if residual.positive:
                residual.gamma.clamp_(min=0)


ATTENTION: dict[Attention, Callable[[int, AttentionOptions], nn.Module]] = {
    "none": lambda _channels, _options: nn.Identity(),
    "se": lambda channels, _options: SE(channels),
    "sk": lambda channels, options: SK(channels, groups=options.groups, branch5=options.branch5),
    "eca": lambda channels, _options: ECA(channels),
    "ds": lambda channels, options: DS(
        channels,
        groups=options.groups,
        branch5=options.branch5,
        fuse=options.fuse,
        gate=options.gate,
        reduction=options.reduction,
        second_gate=options.second_gate,
    ),
}
"""From a name to the function that makes the module for a map with so many channels."""


def attention_module(name: Attention, channels: int, options: AttentionOptions) -> nn.Module:
    """Return the module `name`, wrapped to start as the identity if `options.init` says so.

    Examples
    --------
    >>> type(attention_module("ds", 64, AttentionOptions())).__name__
    'Residual'
    >>> type(attention_module("ds", 64, AttentionOptions(init="plain"))).__name__
    'DS'
    """
    module = ATTENTION[name](channels, options)
    if name == "none" or options.init == "plain":
        return module
    return Residual(module, positive=options.gamma == "positive")
