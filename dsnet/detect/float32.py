"""The parts of the proposal network that stay in float32 under mixed precision (interpretation 9).

A bfloat16 has 8 significant bits: a coordinate between 256 and 512 is right to a pixel at best.
torchvision gives anchors the type of the feature maps, and boxes that of the predicted offsets.
"""

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RPNHead


class Float32Anchors(AnchorGenerator):  # type: ignore[misc]  # torchvision has no types
    """Anchors in float32 whatever the type of the feature maps."""

    def set_cell_anchors(self, dtype: torch.dtype, device: torch.device) -> None:  # noqa: ARG002 - the type asked for is the fault
        """Move the anchors of one cell to `device`."""
        super().set_cell_anchors(torch.float32, device)


class Float32RPNHead(RPNHead):  # type: ignore[misc]  # torchvision has no types
    """A proposal head whose outputs, and so the proposals and both losses, are float32."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return objectness and box offsets of each pyramid level."""
        objectness, offsets = super().forward(x)
        return [level.float() for level in objectness], [level.float() for level in offsets]
