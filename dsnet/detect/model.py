"""The whole detector (readings 4 to 8)."""

from functools import partial
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.ops import FrozenBatchNorm2d

from dsnet.config import Backbone, Detector, Variant
from dsnet.contract import CLASSES
from dsnet.detect.attention import attention_module
from dsnet.detect.backbone import BACKBONE, Norm, attention_channels, insert
from dsnet.detect.float32 import Float32Anchors, Float32RPNHead
from dsnet.detect.heads import Heads
from dsnet.detect.loss import class_loss

SCORE_FLOOR = 0.001
"""Boxes of lower probability are dropped (reading 16b)."""

MAX_BOXES = 100
"""Boxes kept of each image (reading 16b)."""

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

    With attention ``none`` it is torchvision's Faster R-CNN, weight for weight and output for
    output. The base and the heads are the same for every attention: they are drawn first, the
    attention's weights from a stream of their own.

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
    """Return how many backbone stages train, counted from the last; torchvision's rule."""
    if config.trainable_layers is not None:
        return config.trainable_layers
    entry = BACKBONE[backbone]
    return entry.all_layers if config.weights == "none" else entry.trainable_layers


def frozen_norm(config: Detector) -> bool:
    """Return whether the base's norms are constants; torchvision's rule, unless config says."""
    if config.norm == "auto":
        return config.weights != "none"
    return config.norm == "frozen"


def _norm(config: Detector) -> Norm:
    if not frozen_norm(config):
        return nn.BatchNorm2d
    # The published COCO weights were trained with norms that add nothing to the variance.
    return partial(FrozenBatchNorm2d, eps=0.0) if config.weights == "coco" else FrozenBatchNorm2d


def _base(config: Detector, backbone: Backbone, size_px: int, pixel_mm: float) -> FasterRCNN:
    body = BACKBONE[backbone].build(_norm(config), trainable_layers(config, backbone))
    anchors = Float32Anchors(
        tuple((edge_mm / pixel_mm,) for edge_mm in config.anchor_mm),
        (_ASPECT_RATIOS,) * len(config.anchor_mm),
    )
    network = FasterRCNN(
        body,
        num_classes=1 + len(CLASSES),
        min_size=size_px,
        max_size=size_px,
        rpn_anchor_generator=anchors,
        rpn_head=Float32RPNHead(body.out_channels, len(_ASPECT_RATIOS)),
        **_proposals(config),
    )
    network.roi_heads = Heads(class_loss(config), network.roi_heads, **_head_settings(config))
    return network


def _proposals(config: Detector) -> dict[str, int]:
    """Return as many proposals before as after suppression, in training as in testing."""
    return {
        f"rpn_{place}_nms_top_n_{mode}": config.proposals
        for place in ("pre", "post")
        for mode in ("train", "test")
    }


def _head_settings(config: Detector) -> dict[str, Any]:
    """Return torchvision's defaults but for the samples and what reading 16b keeps."""
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
