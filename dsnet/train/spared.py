"""Convolutions that are computed in float32 where bf16 on a CPU gets them wrong."""

import torch
from torch import Tensor, nn


class SparedConv2d(nn.Conv2d):
    """A convolution in float32 on a CPU, whatever the precision around it.

    The gradient of the weights of a grouped and dilated convolution in bf16 reads memory that was
    never written (oneDNN 3.13 in torch 2.15, on CPUs with AVX512-BF16, maps of about 31 pixels and
    more, fewer than 16 channels in a group): values of 1e18 and above, others in each run.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return the convolution; float32 on a CPU."""
        if input.device.type != "cpu":
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float())


def spare(network: nn.Module) -> None:
    """Make each grouped and dilated convolution of `network` a `SparedConv2d`, with its weights."""
    for module in network.modules():
        if type(module) is nn.Conv2d and module.groups > 1 and max(module.dilation) > 1:
            module.__class__ = SparedConv2d
