"""Channel attention: each mechanism in a file of its own, and the one registry of them."""

from collections.abc import Callable

from torch import nn

from dsnet.config.detector import Attention, AttentionOptions
from dsnet.detect.attention.ds import DS
from dsnet.detect.attention.eca import ECA
from dsnet.detect.attention.residual import Residual
from dsnet.detect.attention.se import SE
from dsnet.detect.attention.sk import SK

__all__ = ["ATTENTION", "DS", "ECA", "SE", "SK", "Residual", "attention_module"]


def _none(_channels: int, _options: AttentionOptions) -> nn.Module:
    return nn.Identity()


def _se(channels: int, _options: AttentionOptions) -> nn.Module:
    return SE(channels)


def _sk(channels: int, options: AttentionOptions) -> nn.Module:
    return SK(channels, groups=options.groups, branch5=options.branch5)


def _eca(channels: int, _options: AttentionOptions) -> nn.Module:
    return ECA(channels)


def _ds(channels: int, options: AttentionOptions) -> nn.Module:
    return DS(
        channels,
        groups=options.groups,
        branch5=options.branch5,
        fuse=options.fuse,
        gate=options.gate,
        reduction=options.reduction,
        second_gate=options.second_gate,
    )


ATTENTION: dict[Attention, Callable[[int, AttentionOptions], nn.Module]] = {
    "none": _none,
    "se": _se,
    "sk": _sk,
    "eca": _eca,
    "ds": _ds,
}
"""From a name to what makes the module for a map of so many channels."""


def attention_module(name: Attention, channels: int, options: AttentionOptions) -> nn.Module:
    """Return the module `name`, wrapped to start as the identity if `options.init` says so."""
    module = ATTENTION[name](channels, options)
    if name == "none" or options.init == "plain":
        return module
    return Residual(module)
