"""Attention that starts as the identity (docs/interpretations.md#5)."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """y = x + gamma * A(x), with one number gamma that starts at 0.

    A pretrained network keeps its features until training opens the path. `gamma` is left out of
    weight decay, which would close it again, and its value after training tells how far it opened.

    Parameters
    ----------
    module : Module
        A: a map that keeps shape.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return y; shape and dtype as `x`."""
        attended: Tensor = self.module(x)
        return x + self.gamma * attended


def gammas(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return every gamma of `network` by the name of its module."""
    return {
        name: module.gamma
        for name, module in network.named_modules()
        if isinstance(module, Residual)
    }
