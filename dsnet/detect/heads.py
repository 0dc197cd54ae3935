"""The second stage: torchvision's, with a choice of class loss and all class probabilities."""

from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from dsnet.detect.loss import ClassLoss

_SMALLEST_PX = 1e-2  # torchvision's: an edge below this is no box


class Heads(RoIHeads):  # type: ignore[misc]  # torchvision has no types
    """Region heads in float32 (interpretation 9) that keep what evaluation needs.

    docs/interpretations.md#16b

    Parameters
    ----------
    loss : ClassLoss
        Takes the place of torchvision's cross-entropy; the box loss is torchvision's.
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
            ``boxes`` float32 (objects, 4) and ``labels`` int64 (objects,), for training.
        """
        if self.training:
            proposals, _, labels, offsets = self.select_training_samples(proposals, targets)
        pooled = self.box_head(self.box_roi_pool(features, proposals, image_shapes))
        logits, deltas = (output.float() for output in self.box_predictor(pooled))
        if not self.training:
            return self.detect(logits, deltas, proposals, image_shapes), {}
        _, box_loss = fastrcnn_loss(logits, deltas, labels, offsets)
        loss = self.class_loss(logits, torch.cat(labels))
        return [], {"loss_classifier": loss, "loss_box_reg": box_loss}

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
            self._detect_one(*image)
            for image in zip(boxes, probabilities, image_shapes, strict=True)
        ]

    def _detect_one(
        self, boxes: Tensor, probabilities: Tensor, shape: tuple[int, int]
    ) -> dict[str, Tensor]:
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
