"""The second stage: torchvision's heads, with the class losses and all class probabilities.

docs/interpretations.md#8, #12 and #16b
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from dsnet.config.detector import Detector
from dsnet.detect.regions import (
    IGNORED,
    Truth,
    box_loss,
    match,
    mean_over_devices,
    over_devices,
    sample,
)

_SMALLEST_PX = 1e-2  # torchvision's: an edge below this is no box

ClassLoss = Callable[[Tensor, Tensor], Tensor]
"""From logits (regions, classes) and int64 labels (regions,) to a scalar; class 0 is background."""


class Heads(RoIHeads):  # type: ignore[misc]  # torchvision has no types
    """Region heads in float32 that keep what evaluation needs.

    docs/interpretations.md#9 and #16b

    Parameters
    ----------
    loss : ClassLoss
        Replaces torchvision's cross-entropy; the box loss is torchvision's.
    plain : RoIHeads
        Whose pooling, layers and settings are taken over, so that weights keep their names.
    """

    def __init__(self, loss: ClassLoss, plain: RoIHeads, **settings: Any) -> None:
        super().__init__(plain.box_roi_pool, plain.box_head, plain.box_predictor, **settings)
        self.class_loss = loss

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Return detections and no losses, or, in training, losses and no detections.

        Parameters
        ----------
        features : dict of Tensor
            Pyramid levels, each (images, channels, height, width).
        proposals : list of float32 (regions, 4)
        image_shapes : list of (height, width)
        targets : list of dict
            ``boxes`` float32 (objects, 4) and ``labels`` int64 (objects,), in training.
        """
        if targets is not None:
            proposals, labels, offsets = self._samples(proposals, Truth.of(targets))
        pooled = self.box_head(self.box_roi_pool(features, proposals, image_shapes))
        logits, deltas = (output.float() for output in self.box_predictor(pooled))
        if targets is None:
            return self.detect(logits, deltas, proposals, image_shapes), {}
        own = deltas.view(len(labels), -1, 4)[
            torch.arange(len(labels), device=labels.device), labels
        ]
        count = torch.tensor(len(labels), device=labels.device)
        return [], {
            "loss_classifier": self.class_loss(logits, labels),
            "loss_box_reg": mean_over_devices(
                box_loss(own, offsets, labels > 0) / len(labels), count
            ),
        }

    def _samples(
        self, proposals: list[Tensor], truth: Truth
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the regions of each image to learn from, and the labels and offsets of all."""
        most = max(map(len, proposals))
        regions = torch.cat(
            [
                torch.stack(
                    [functional.pad(some, (0, 0, 0, most - len(some))) for some in proposals]
                ),
                truth.boxes,
            ],
            dim=1,
        )
        filled = [[True] * len(some) + [False] * (most - len(some)) for some in proposals]
        mask = torch.tensor(filled, dtype=torch.bool, device=regions.device)
        real = torch.cat([mask, truth.valid], dim=1)
        matcher, sampler = self.proposal_matcher, self.fg_bg_sampler
        matched = match(
            truth,
            regions,
            foreground=matcher.high_threshold,
            background=matcher.low_threshold,
            low_quality=False,
        )
        labels = matched.labels.masked_fill(~real, IGNORED)
        positive, negative = sample(labels, sampler.batch_size_per_image, sampler.positive_fraction)
        image, row = torch.where(positive | negative)
        counts = torch.bincount(image, minlength=len(proposals)).tolist()
        regions = regions[image, row]
        offsets = self.box_coder.encode_single(matched.boxes[image, row], regions)
        return list(torch.split(regions, counts)), labels[image, row], offsets

    def detect(
        self,
        logits: Tensor,
        deltas: Tensor,
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Return the detections of each image, the best first.

        As torchvision's ``postprocess_detections``: each proposal gives a box for each class, those
        below the score floor go, then those that a better box of their class covers.

        Returns
        -------
        list of dict
            ``boxes`` float32 (n, 4), ``labels`` int64 (n,), ``scores`` float32 (n,), and
            ``probabilities`` float32 (n, classes): those of the proposal, background first.
        """
        counts = [len(boxes) for boxes in proposals]
        boxes = torch.split(self.box_coder.decode(deltas, proposals), counts)
        probabilities = torch.split(logits.softmax(dim=1), counts)
        return [
            self.detect_one(*image)
            for image in zip(boxes, probabilities, image_shapes, strict=True)
        ]

    def detect_one(
        self, boxes: Tensor, probabilities: Tensor, shape: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Return the detections of one image, as `detect`.

        Parameters
        ----------
        boxes : float32 (proposals, classes, 4)
        probabilities : float32 (proposals, classes)
        shape : tuple of int
            Height and width of the image.
        """
        proposal, label = torch.where(probabilities[:, 1:] > self.score_thresh)
        label = label + 1
        boxes = clip_boxes_to_image(boxes[proposal, label], shape)
        large = remove_small_boxes(boxes, _SMALLEST_PX)
        boxes, proposal, label = boxes[large], proposal[large], label[large]
        scores = probabilities[proposal, label]
        keep = batched_nms(boxes, scores, label, self.nms_thresh)[: self.detections_per_img]
        return {
            "boxes": boxes[keep],
            "labels": label[keep],
            "scores": scores[keep],
            "probabilities": probabilities[proposal[keep]],
        }


def dice(
    logits: Tensor,
    labels: Tensor,
    *,
    include_background: bool = False,
    smooth: float = 1.0,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Return one minus the mean soft Dice coefficient of the classes present.

    With p the class probabilities, t the one-hot labels and sums over ALL regions of the batch, on
    all devices, background regions among them, the coefficient of class c is
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

    Examples
    --------
    >>> logits = torch.tensor([[0.0, 9, 0, 0], [9, 0, 0, 0]])
    >>> round(dice(logits, torch.tensor([1, 0])).item(), 3)
    0.0
    >>> round(dice(logits, torch.tensor([0, 1])).item(), 3)
    0.667
    """
    probability = logits.softmax(dim=1)
    truth = functional.one_hot(labels, logits.shape[1]).to(probability.dtype)
    regions, predicted = truth.sum(dim=0), probability.sum(dim=0)
    sums = torch.stack([(probability * truth).sum(dim=0), predicted + regions, regions])
    overlap, mass, regions = over_devices(sums).unbind()
    coefficient = (2 * overlap + smooth) / (mass + smooth)
    counted = (regions > 0).to(probability.dtype)
    if not include_background:
        counted[0] = 0
    if weights is not None:
        counted = counted * counted.new_tensor(weights)
    total = counted.sum()
    mean: Tensor = ((1 - coefficient) * counted).sum() / total.where(total > 0, 1)
    return mean


def cross_entropy(
    logits: Tensor, labels: Tensor, *, weights: Sequence[float] | None = None
) -> Tensor:
    """Return the mean of -log p of each region's class, weighed by that class."""
    weight = logits.new_ones(logits.shape[1]) if weights is None else logits.new_tensor(weights)
    mean = functional.cross_entropy(logits, labels, None if weights is None else weight)
    return mean_over_devices(mean, weight[labels].sum())


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
