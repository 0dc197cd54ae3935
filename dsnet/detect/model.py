"""The whole detector (readings 4 to 8)."""

from functools import partial
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.ops import FrozenBatchNorm2d

from dsnet.config.detector import Backbone, Detector, Variant
from dsnet.detect.attention import attention_module
from dsnet.detect.backbone import (
    BACKBONE,
    PUBLISHED,
    attention_channels,
    checkpoint,
    has_pyramid,
    start_weights,
)
from dsnet.detect.body import Norm
from dsnet.detect.float32 import Float32Anchors, Float32RPNHead
from dsnet.detect.heads import Heads
from dsnet.detect.loss import class_loss
from dsnet.detect.neck import build_backbone, insert
from dsnet.errors import UserError
from dsnet.schemas import CLASSES

SCORE_FLOOR = 0.001
"""Boxes of lower probability are dropped (docs/interpretations.md#16b)."""

MAX_BOXES = 100
"""Boxes kept of each image (docs/interpretations.md#16b)."""

_ASPECT_RATIOS = (0.5, 1.0, 2.0)
_ATTENTION_STREAM = 1 << 32  # keeps the attention's seeds apart from every seed of a base


def build(
    config: Detector,
    variant: Variant,
    *,
    size_px: int,
    pixel_mm: float,
    seed: int = 0,
) -> FasterRCNN:
    """Return the detector with its first weights drawn from `seed`; nothing is loaded.

    With ResNet50 and attention ``none`` it is torchvision's Faster R-CNN, weight for weight and
    output for output. The base and the heads are the same for every attention: they are drawn
    first, the attention's weights from a stream of their own.

    Parameters
    ----------
    config : Detector
    variant : Variant
        Keys of `BACKBONE` and `ATTENTION`.
    size_px : int
        Edge length of the square images; the detector does not resample them.
    pixel_mm : float
        Edge length of a pixel, by which anchors get their physical size.
    seed : int
        Torch's global generator is left as it was.

    Returns
    -------
    FasterRCNN
        For float32 images (3, `size_px`, `size_px`) in [0, 1], which it normalises with the mean
        and spread of ImageNet whatever the weights; labels 1 to 3 are `CLASSES`.

    Raises
    ------
    UserError
        If the backbone has no such stage, part or checkpoint as `config` names.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _base(config, variant.backbone, size_px, pixel_mm)
        torch.manual_seed(_ATTENTION_STREAM + seed)
        sites = attention_channels(variant.backbone, config.attention.sites)
        insert(
            network.backbone,
            {
                site: attention_module(variant.attention, channels, config.attention)
                for site, channels in sites.items()
            },
        )
    return network


def trainable_layers(config: Detector, backbone: Backbone) -> int:
    """Return how many parts of the backbone train, counted from the last; torchvision's rule.

    Raises
    ------
    UserError
        If `config` names more than there are.
    """
    entry = BACKBONE[backbone]
    parts = len(entry.starts)
    if config.trainable_layers is None:
        return parts if config.weights == "none" else entry.trainable_layers
    if config.trainable_layers > parts:
        raise UserError(
            "config detector.trainable_layers",
            expected=f"at most {parts}, which is all of {backbone}",
            came=str(config.trainable_layers),
            remedy="lower it, or set it to null for torchvision's default",
        )
    return config.trainable_layers


def map_stride(config: Detector, pixel_mm: float) -> int:
    """Return the stride of the one map in pixels: the coarsest that fits the smallest anchor.

    A wider step would leave vertebrae between the anchors: with anchors from 16 mm on it is 8
    pixels on a grid of 1.5 mm and 16 on one of 0.6 mm. Finer than 8 is nothing.
    """
    fitting = (stride for stride in (32, 16) if stride * pixel_mm <= min(config.anchor_mm))
    return next(fitting, 8)


def frozen_norm(config: Detector) -> bool:
    """Return whether the base's norms are constants; torchvision's rule, unless config says."""
    if config.norm == "auto":
        return config.weights != "none"
    return config.norm == "frozen"


def _norm(config: Detector, backbone: Backbone) -> Norm:
    if not frozen_norm(config):
        return nn.BatchNorm2d
    name = start_weights(config, backbone)
    eps = checkpoint(backbone, name).eps if name in PUBLISHED else 1e-5
    norm: Norm = partial(FrozenBatchNorm2d, eps=eps)
    return norm


def _base(config: Detector, backbone: Backbone, size_px: int, pixel_mm: float) -> FasterRCNN:
    edges_px = tuple(edge_mm / pixel_mm for edge_mm in config.anchor_mm)
    pyramid = has_pyramid(config, backbone)
    # One edge for each map of a pyramid, all of them on the one map.
    sizes = tuple((edge,) for edge in edges_px) if pyramid else (edges_px,)
    maps = build_backbone(
        backbone,
        _norm(config, backbone),
        stride=None if pyramid else map_stride(config, pixel_mm),
        trained=trainable_layers(config, backbone),
    )
    network = FasterRCNN(
        maps,
        num_classes=1 + len(CLASSES),
        min_size=size_px,
        max_size=size_px,
        rpn_anchor_generator=Float32Anchors(sizes, (_ASPECT_RATIOS,) * len(sizes)),
        rpn_head=Float32RPNHead(maps.out_channels, len(sizes[0]) * len(_ASPECT_RATIOS)),
        **_proposals(config, len(sizes[0])),
    )
    network.roi_heads = Heads(class_loss(config), network.roi_heads, **_head_settings(config))
    return network


def _proposals(config: Detector, sizes_per_map: int) -> dict[str, int]:
    """Return how many proposals each map gives before, and an image has after, suppression.

    The same in training as in testing; one map gives as many as the maps of a pyramid together.
    """
    counts = {"pre": config.proposals * sizes_per_map, "post": config.proposals}
    return {
        f"rpn_{place}_nms_top_n_{mode}": count
        for place, count in counts.items()
        for mode in ("train", "test")
    }


def _head_settings(config: Detector) -> dict[str, Any]:
    """Return torchvision's defaults but for the samples and what interpretation 16b keeps."""
    return {
        "fg_iou_thresh": 0.5,
        "bg_iou_thresh": 0.5,
        "batch_size_per_image": config.roi_samples,
        "positive_fraction": 0.25,
        "bbox_reg_weights": None,
        "score_thresh": SCORE_FLOOR,
        "nms_thresh": 0.5,
        "detections_per_img": MAX_BOXES,
    }
