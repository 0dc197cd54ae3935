"""Losses on the classes of regions of interest (reading 8)."""

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.nn import functional

from dsnet.config import Detector

ClassLoss = Callable[[Tensor, Tensor], Tensor]
"""From logits (regions, classes) and int64 labels (regions,) to a scalar; class 0 is background."""


def dice(
    logits: Tensor, labels: Tensor, *, include_background: bool = False, smooth: float = 1.0
) -> Tensor:
    """Return one minus the mean soft Dice coefficient of the classes present.

    With p the class probabilities, t the one-hot labels and sums over ALL regions of the batch,
    background regions among them, the coefficient of class c is
    (2 sum p_c t_c + smooth) / (sum p_c + sum t_c + smooth).

    Parameters
    ----------
    logits : float32 (regions, classes)
    labels : int64 (regions,)
        0 for background.
    include_background : bool
        Whether the background counts in the mean. In the denominators it always does: nothing
        else would keep down the foreground probability of background regions.
    smooth : float
        Keeps the gradient of a class with few regions finite and small.

    Returns
    -------
    Tensor
        Scalar in [0, 1); 0 with a gradient (of zero) when no class that counts is present.
    """
    probability = logits.softmax(dim=1)
    truth = functional.one_hot(labels, logits.shape[1]).to(probability.dtype)
    overlap = (probability * truth).sum(dim=0)
    mass = probability.sum(dim=0) + truth.sum(dim=0)
    coefficient = (2 * overlap + smooth) / (mass + smooth)
    present = truth.any(dim=0)
    if not include_background:
        present[0] = False
    return ((1 - coefficient) * present).sum() / present.sum().clamp(min=1)


def dice_ce(logits: Tensor, labels: Tensor, *, include_background: bool = False) -> Tensor:
    """Return the sum of `dice` and cross-entropy."""
    cross_entropy = functional.cross_entropy(logits, labels)
    return dice(logits, labels, include_background=include_background) + cross_entropy


def class_loss(config: Detector) -> ClassLoss:
    """Return the loss that `config` names."""
    losses: dict[str, ClassLoss] = {
        "ce": functional.cross_entropy,
        "dice": partial(dice, include_background=config.include_background),
        "dice_ce": partial(dice_ce, include_background=config.include_background),
    }
    return losses[config.loss]
