"""The first stage, and what both stages do with regions, for all images of a batch at once.

torchvision goes image by image, in some hundred small operations each; on a GPU many of them make
the host wait. Images of a batch have one size here, so that each operation can see all of them. The
results are torchvision's, except that regions are sampled by other random numbers.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import (
    RegionProposalNetwork,
    RPNHead,
    concat_box_prediction_layers,
)
from torchvision.ops import batched_nms, box_area, clip_boxes_to_image

BACKGROUND, IGNORED = 0, -1
_BETA = 1 / 9  # torchvision's: below it the box loss is quadratic


class Truth(NamedTuple):
    """The annotated boxes of a batch, padded to one number of boxes.

    Attributes
    ----------
    boxes : float32 (images, objects, 4)
    labels : int64 (images, objects)
        From 1.
    valid : bool (images, objects)
        False for padding, whose box is the unit square.
    """

    boxes: Tensor
    labels: Tensor
    valid: Tensor

    @classmethod
    def of(cls, targets: Sequence[dict[str, Tensor]]) -> "Truth":
        """Return the ``boxes`` and ``labels`` of each image; there may be none."""
        counts = [len(target["labels"]) for target in targets]
        objects = max(1, *counts)
        unit = targets[0]["boxes"].new_tensor([0.0, 0.0, 1.0, 1.0])
        boxes, labels, valid = [], [], []
        for target, count in zip(targets, counts, strict=True):
            missing = objects - count
            boxes.append(torch.cat([target["boxes"], unit.expand(missing, 4)]))
            labels.append(functional.pad(target["labels"], (0, missing)))
            valid.append(functional.pad(torch.ones_like(target["labels"]), (0, missing)))
        return cls(torch.stack(boxes), torch.stack(labels), torch.stack(valid).bool())


class Matched(NamedTuple):
    """Which annotated box each region stands for.

    Attributes
    ----------
    boxes : float32 (images, regions, 4)
        The annotated box of highest overlap.
    labels : int64 (images, regions)
        Its label, or `BACKGROUND`, or `IGNORED`.
    """

    boxes: Tensor
    labels: Tensor


def match(
    truth: Truth, regions: Tensor, *, foreground: float, background: float, low_quality: bool
) -> Matched:
    """Return the annotated box of each region, as torchvision's ``Matcher`` does.

    Parameters
    ----------
    truth : Truth
    regions : float32 (images or 1, regions, 4)
    foreground, background : float
        From that overlap (IoU) on a region is one of its box; below this one it is background.
    low_quality : bool
        Whether the regions that overlap a box most are its own, regardless of how much.

    Returns
    -------
    Matched
    """
    overlap = _iou(truth.boxes, regions).masked_fill(~truth.valid[:, :, None], -1)
    highest, own = overlap.max(dim=1)
    labels = truth.labels.gather(1, own)
    unmatched = highest < foreground
    if low_quality:
        best = (overlap == overlap.amax(dim=2, keepdim=True)) & truth.valid[:, :, None]
        unmatched &= ~best.any(dim=1)
    labels = labels.masked_fill(unmatched & (highest < background), BACKGROUND)
    labels = labels.masked_fill(unmatched & (highest >= background), IGNORED)
    return Matched(truth.boxes.gather(1, own[:, :, None].expand(-1, -1, 4)), labels)


def _iou(boxes: Tensor, regions: Tensor) -> Tensor:
    """Return the overlap of each box with each region of its image, (images, boxes, regions)."""
    low = torch.maximum(boxes[:, :, None, :2], regions[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], regions[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=3)
    areas = [box_area(some.flatten(0, 1)).view(some.shape[:2]) for some in (boxes, regions)]
    overlap: Tensor = shared / (areas[0][:, :, None] + areas[1][:, None] - shared)
    return overlap


def sample(labels: Tensor, count: int, positive_fraction: float) -> tuple[Tensor, Tensor]:
    """Return which regions of each image are sampled, as torchvision's balanced sampler does.

    Parameters
    ----------
    labels : int64 (images, regions)
        As in `Matched`.
    count : int
        Regions of an image that are wanted.
    positive_fraction : float
        Share of them that may have a label; the rest is background.

    Returns
    -------
    positive, negative : bool (images, regions)
        At random from torch's global generator.
    """
    keys = torch.rand(labels.shape, device=labels.device)
    most = int(count * positive_fraction)
    positive = _lowest(keys, labels > BACKGROUND, most)
    left = count - positive.sum(dim=1, keepdim=True)
    return positive, _lowest(keys, labels == BACKGROUND, count, left)


def _lowest(keys: Tensor, candidates: Tensor, most: int, limit: Tensor | None = None) -> Tensor:
    """Return the `most` candidates of lowest key in each row, or as many as `limit` says."""
    most = min(most, keys.shape[1])
    order = keys.masked_fill(~candidates, 2).topk(most, dim=1, largest=False).indices
    chosen = candidates.gather(1, order)
    if limit is not None:
        chosen &= torch.arange(most, device=keys.device) < limit
    return torch.zeros_like(candidates).scatter(1, order, chosen)


def box_loss(deltas: Tensor, offsets: Tensor, counted: Tensor) -> Tensor:
    """Return the sum of the smooth L1 losses of the regions that are `counted`."""
    losses = functional.smooth_l1_loss(deltas, offsets, beta=_BETA, reduction="none")
    return losses.sum(dim=-1).where(counted, 0).sum()


def over_devices(sums: Tensor) -> Tensor:
    """Return the sums over the regions of all devices that share a batch.

    Gradients go back to all of them, so that the mean of the devices' gradients, which
    DistributedDataParallel takes, is the gradient of the whole batch.
    """
    if distributed.is_available() and distributed.is_initialized():
        summed: Tensor = all_reduce(sums)  # type: ignore[no-untyped-call]  # torch has no type
        return summed
    return sums


def mean_over_devices(mean: Tensor, count: Tensor) -> Tensor:
    """Return the mean over the regions of all devices, from that over the `count` of this one."""
    if distributed.is_available() and distributed.is_initialized():
        sums = over_devices(torch.stack([mean * count, count.to(mean.dtype)]))
        return sums[0] / sums[1]
    return mean  # to the last bit


class Anchors(AnchorGenerator):  # type: ignore[misc]  # torchvision has no types
    """Anchors in float32 that are computed once for each size of image.

    docs/interpretations.md#9

    torchvision gives anchors the type of the maps. A bfloat16 has 8 significant bits: a coordinate
    between 256 and 512 is right to a pixel at best.
    """

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self._kept: dict[tuple[Any, ...], Tensor] = {}

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Return the anchors of each image, float32 (anchors, 4); those of all images are one."""
        shapes = [some.shape[-2:] for some in (image_list.tensors, *feature_maps)]
        key = (feature_maps[0].device, *shapes)
        if key not in self._kept:
            (self._kept[key],) = super().forward(
                ImageList(image_list.tensors, image_list.image_sizes[:1]),
                [some.float() for some in feature_maps],
            )
        return [self._kept[key]] * len(image_list.image_sizes)


class Float32RPNHead(RPNHead):  # type: ignore[misc]  # torchvision has no types
    """A proposal head whose outputs, and so the proposals and both losses, are float32."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return objectness and box offsets of each pyramid level."""
        objectness, offsets = super().forward(x)
        return [level.float() for level in objectness], [level.float() for level in offsets]


class Proposals(RegionProposalNetwork):  # type: ignore[misc]  # torchvision has no types
    """torchvision's first stage for all images of a batch at once; weights keep their names."""

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the proposals of each image, float32 (proposals, 4), and the losses.

        Losses are computed where there are `targets`.
        """
        maps = list(features.values())
        by_level = self.head(maps)
        per_level = [level[0].numel() for level in by_level[0]]
        anchors = self.anchor_generator(images, maps)[0]
        objectness, deltas = concat_box_prediction_layers(*by_level)
        count = len(images.image_sizes)
        objectness, deltas = objectness.view(count, -1), deltas.view(count, -1, 4)
        boxes = self.box_coder.decode_single(
            deltas.detach().flatten(0, 1), anchors.repeat(count, 1)
        ).view(count, -1, 4)
        proposals = self._best(boxes, objectness.detach(), images.image_sizes[0], per_level)
        if targets is None:
            return proposals, {}
        return proposals, self._losses(objectness, deltas, anchors, Truth.of(targets))

    def _best(
        self, boxes: Tensor, objectness: Tensor, size: tuple[int, int], per_level: list[int]
    ) -> list[Tensor]:
        """Return the boxes of each image that no better one of their level covers, best first."""
        order = self._get_top_n_idx(objectness, per_level)
        level = torch.repeat_interleave(
            torch.arange(len(per_level), device=boxes.device),
            torch.tensor([min(n, self.pre_nms_top_n()) for n in per_level], device=boxes.device),
            output_size=order.shape[1],
        )
        boxes = boxes.gather(1, order[:, :, None].expand(-1, -1, 4))
        boxes = clip_boxes_to_image(boxes, size)
        scores = objectness.gather(1, order).sigmoid()
        edges = boxes[:, :, 2:] - boxes[:, :, :2]
        usable = (edges >= self.min_size).all(dim=2) & (scores >= self.score_thresh)
        scores = scores.where(usable, -1)  # the last, so that they cover none that is usable
        kept = [
            batched_nms(*image, level, self.nms_thresh)[: self.post_nms_top_n()]
            for image in zip(boxes, scores, strict=True)
        ]
        if torch.onnx.is_in_onnx_export():  # a number in Python would be a constant of the graph
            return [boxes[i, rows[usable[i, rows]]] for i, rows in enumerate(kept)]
        counts = torch.stack(
            [usable[number, rows].sum() for number, rows in enumerate(kept)]
        ).tolist()
        return [boxes[i, rows[: counts[i]]] for i, rows in enumerate(kept)]

    def _losses(
        self, objectness: Tensor, deltas: Tensor, anchors: Tensor, truth: Truth
    ) -> dict[str, Tensor]:
        matcher, sampler = self.proposal_matcher, self.fg_bg_sampler
        matched = match(
            truth,
            anchors[None],
            foreground=matcher.high_threshold,
            background=matcher.low_threshold,
            low_quality=True,
        )
        positive, negative = sample(
            matched.labels, sampler.batch_size_per_image, sampler.positive_fraction
        )
        count = positive.sum() + negative.sum()
        offsets = self.box_coder.encode_single(
            matched.boxes.flatten(0, 1), anchors.repeat(len(matched.boxes), 1)
        ).view_as(deltas)
        losses = functional.binary_cross_entropy_with_logits(
            objectness, positive.float(), reduction="none"
        )
        return {
            "loss_objectness": mean_over_devices(
                losses.where(positive | negative, 0).sum() / count, count
            ),
            "loss_rpn_box_reg": mean_over_devices(
                box_loss(deltas, offsets, positive) / count, count
            ),
        }
