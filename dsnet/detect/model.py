"""The whole detector: torchvision's Faster R-CNN around a backbone with attention.

docs/interpretations.md#4 to #9
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d

from dsnet.config.detector import Backbone, Detector, Variant
from dsnet.detect.attention import attention_module
from dsnet.detect.backbone import (
    BACKBONE,
    PUBLISHED,
    Norm,
    attention_channels,
    build_backbone,
    has_pyramid,
    insert_attention,
    published_weights,
    start_weights,
)
from dsnet.detect.heads import Heads, class_loss
from dsnet.detect.regions import Anchors, Float32RPNHead, Proposals
from dsnet.errors import UserError
from dsnet.slice_tables import CLASSES, MAX_DETECTIONS, SCORE_FLOOR, SUPPRESSION_IOU

_ASPECT_RATIOS = (0.5, 1.0, 2.0)
_ATTENTION_STREAM = 1 << 32  # no seed of a base is one of the attention's


def build(
    config: Detector,
    variant: Variant,
    *,
    size_px: int,
    pixel_mm: float,
    seed: int = 0,
) -> FasterRCNN:
    """Return the detector with random first weights that follow from `seed`; nothing is loaded.

    With ResNet50 and attention ``none`` it is torchvision's Faster R-CNN, weight for weight and
    output for output. The base and the heads are the same for every attention: they are initialised
    first, the attention's weights from a random stream of their own.

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
        and standard deviation of ImageNet, regardless of the start weights; labels 1 to 3 are
        `CLASSES`.

    Raises
    ------
    UserError
        If the backbone has no such stage or checkpoint as `config` names.

    Examples
    --------
    >>> variant = Variant.model_validate("mobilenet_v2/ds")
    >>> network = build(Detector(weights="none"), variant, size_px=64, pixel_mm=2.25).eval()
    >>> sorted(network([torch.rand(3, 64, 64)])[0])
    ['boxes', 'labels', 'probabilities', 'scores']
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _base(config, variant.backbone, size_px, pixel_mm)
        torch.manual_seed(_ATTENTION_STREAM + seed)
        sites = attention_channels(variant.backbone, config.attention.sites)
        insert_attention(
            network.backbone,
            {
                site: attention_module(variant.attention, channels, config.attention)
                for site, channels in sites.items()
            },
        )
    return network


def trainable_layers(config: Detector, backbone: Backbone) -> int:
    """Return how many groups of stages train, counted from the last; torchvision's rule.

    Raises
    ------
    UserError
        If `config` names more than there are.
    """
    entry = BACKBONE[backbone]
    groups = len(entry.starts)
    if config.trainable_layers is None:
        return groups if config.weights == "none" else entry.trainable_layers
    if config.trainable_layers > groups:
        raise UserError(
            "config detector.trainable_layers",
            expected=f"at most {groups}, which is all of {backbone}",
            came=str(config.trainable_layers),
            remedy="lower it, or set it to null for torchvision's default",
        )
    return config.trainable_layers


def map_stride(config: Detector, pixel_mm: float) -> int:
    """Return the stride of the one map in pixels: the coarsest that fits the smallest anchor.

    A wider step would leave vertebrae between the anchors. It is never finer than 8.

    Examples
    --------
    With anchors from 16 mm on:

    >>> map_stride(Detector(), pixel_mm=1.5), map_stride(Detector(), pixel_mm=0.6)
    (8, 16)
    """
    fitting = (stride for stride in (32, 16) if stride * pixel_mm <= min(config.anchor_mm))
    return next(fitting, 8)


def frozen_norm(config: Detector) -> bool:
    """Return whether the base's norms are constants; torchvision's rule, unless config says."""
    if config.norm == "auto":
        return config.weights != "none"
    return config.norm == "frozen"


def _norm(config: Detector, backbone: Backbone) -> Norm:
    """Return the norm of the base: trained, frozen, or none in a VGG16 that has none to load.

    docs/interpretations.md#9
    """
    source = start_weights(config, backbone)
    pretrained = source in PUBLISHED
    if not BACKBONE[backbone].published_norms and (pretrained or frozen_norm(config)):
        return lambda _channels: nn.Identity()
    if not frozen_norm(config):
        return nn.BatchNorm2d
    eps = published_weights(backbone, source).eps if pretrained else 1e-5
    norm: Norm = partial(FrozenBatchNorm2d, eps=eps)
    return norm


def _base(config: Detector, backbone: Backbone, size_px: int, pixel_mm: float) -> FasterRCNN:
    edges_px = tuple(edge_mm / pixel_mm for edge_mm in config.anchor_mm)
    pyramid = has_pyramid(config, backbone)
    # One edge for each map of a pyramid, all of them on the one map.
    sizes = tuple((edge,) for edge in edges_px) if pyramid else (edges_px,)
    # One map gives as many proposals as the maps of a pyramid together.
    per_map = config.proposals * len(sizes[0])
    maps = build_backbone(
        backbone,
        _norm(config, backbone),
        stride=None if pyramid else map_stride(config, pixel_mm),
        trained=trainable_layers(config, backbone),
    )
    network = Network(
        maps,
        num_classes=1 + len(CLASSES),
        min_size=size_px,
        max_size=size_px,
        rpn_anchor_generator=Anchors(sizes, (_ASPECT_RATIOS,) * len(sizes)),
        rpn_head=Float32RPNHead(maps.out_channels, len(sizes[0]) * len(_ASPECT_RATIOS)),
        rpn_pre_nms_top_n_train=per_map,
        rpn_pre_nms_top_n_test=per_map,
        rpn_post_nms_top_n_train=config.proposals,
        rpn_post_nms_top_n_test=config.proposals,
    )
    network.rpn.__class__ = Proposals  # FasterRCNN makes torchvision's, with the same weights
    network.roi_heads = Heads(
        class_loss(config),
        network.roi_heads,
        # torchvision's defaults, except for the samples and interpretation 16b.
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=config.roi_samples,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=SCORE_FLOOR,
        nms_thresh=SUPPRESSION_IOU,
        detections_per_img=MAX_DETECTIONS,
    )
    return network


class Network(FasterRCNN):  # type: ignore[misc]  # torchvision has no types
    """torchvision's Faster R-CNN for images of one size, with both stages for all of them at once.

    torchvision resamples, normalises and pads image by image, and looks at each box whether it is
    valid; here images have the network's size already, and boxes are checked when they are read.
    """

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Return the losses in training, else the detections of each image.

        Parameters
        ----------
        images : list of float32 (3, height, width)
            In [0, 1], all of one size.
        targets : list of dict
            ``boxes`` float32 (objects, 4) and ``labels`` int64 (objects,) of each image, in
            training alone.
        """
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        wanted = targets if self.training else None
        features, proposals, first = self.propose(torch.stack(images), sizes, wanted)
        detections, second = self.roi_heads(features, proposals, sizes, wanted)
        return {**second, **first} if self.training else detections

    def propose(
        self,
        images: Tensor,
        sizes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[dict[str, Tensor], list[Tensor], dict[str, Tensor]]:
        """Return the feature maps, the proposals of each image, and the losses of these.

        Parameters
        ----------
        images : float32 (images, 3, height, width)
        sizes : list of (height, width)
            Of each image.
        targets : list of dict, optional
            As in `forward`; without them there are no losses.
        """
        (height, width), step = sizes[0], self.transform.size_divisible
        padding = (0, -width % step, 0, -height % step)
        batch = functional.pad(self.transform.normalize(images), padding)
        features = self.backbone(batch)
        return features, *self.rpn(ImageList(batch, sizes), features, targets)
