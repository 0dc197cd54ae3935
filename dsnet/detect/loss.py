"""Losses on the classes of regions of interest (docs/interpretations.md#8 and #12)."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor
from torch.nn import functional

from dsnet.config.detector import Detector

ClassLoss = Callable[[Tensor, Tensor], Tensor]
"""From logits (regions, classes) and int64 labels (regions,) to a scalar; class 0 is background."""


def dice(
    logits: Tensor,
    labels: Tensor,
    *,
    include_background: bool = False,
    smooth: float = 1.0,
    weights: Sequence[float] | None = None,
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
    weights : sequence of float, optional
        Of each class in the mean, the background's first.

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
    counted = truth.any(dim=0).to(probability.dtype)
    if not include_background:
        counted[0] = 0
    if weights is not None:
        counted = counted * counted.new_tensor(weights)
    total = counted.sum()
    return ((1 - coefficient) * counted).sum() / total.where(total > 0, 1)


def cross_entropy(
    logits: Tensor, labels: Tensor, *, weights: Sequence[float] | None = None
) -> Tensor:
    """Return the mean of -log p of each region's class, weighed by that class."""
    weight = None if weights is None else logits.new_tensor(weights)
    return functional.cross_entropy(logits, labels, weight)


def dice_ce(
    logits: Tensor,
    labels: Tensor,
    *,
    include_background: bool = False,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Return the sum of `dice` and `cross_entropy`."""
    overlap = dice(logits, labels, include_background=include_background, weights=weights)
    return overlap + cross_entropy(logits, labels, weights=weights)


def class_loss(config: Detector, weights: Sequence[float] | None = None) -> ClassLoss:
    """Return the loss that `config` names.

    Parameters
    ----------
    config : Detector
    weights : sequence of float, optional
        Of each of `schemas.CLASSES`, mean 1; the background weighs 1.
    """
    every = None if weights is None else (1.0, *weights)
    losses: dict[str, ClassLoss] = {
        "ce": partial(cross_entropy, weights=every),
        "dice": partial(dice, include_background=config.include_background, weights=every),
        "dice_ce": partial(dice_ce, include_background=config.include_background, weights=every),
    }
    return losses[config.loss]
