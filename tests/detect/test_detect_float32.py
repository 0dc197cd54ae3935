"""Boxes under mixed precision (interpretation 9)."""

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from dsnet.detect.float32 import Float32Anchors, Float32RPNHead

SIZE_PX = 512
SIZES, RATIOS = ((32.0,),), ((0.5, 1.0, 2.0),)


def decoded(anchors: type[AnchorGenerator], head: type[RPNHead], *, bf16: bool) -> torch.Tensor:
    torch.manual_seed(0)
    generator, outputs = anchors(SIZES, RATIOS), head(8, 3)
    features = torch.rand(1, 8, SIZE_PX // 16, SIZE_PX // 16)
    images = ImageList(torch.zeros(1, 3, SIZE_PX, SIZE_PX), [(SIZE_PX, SIZE_PX)])
    coder = RegionProposalNetwork(
        generator, outputs, 0.7, 0.3, 256, 0.5, {}, {}, nms_thresh=0.7
    ).box_coder
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        maps = [features.bfloat16() if bf16 else features]
        _, offsets = outputs(maps)
        flat = offsets[0].permute(0, 2, 3, 1).reshape(-1, 4)
        return coder.decode(flat, generator(images, maps))


@pytest.mark.parametrize("ours", [False, True])
def test_boxes_in_bf16_err_by_a_pixel_and_ours_do_not(ours: bool) -> None:
    kinds = (Float32Anchors, Float32RPNHead) if ours else (AnchorGenerator, RPNHead)
    exact = decoded(AnchorGenerator, RPNHead, bf16=False)
    mixed = decoded(*kinds, bf16=True)
    error_px = (mixed.double() - exact.double()).abs().max()
    if ours:
        assert mixed.dtype == torch.float32
        assert error_px < 0.1
    else:
        assert mixed.dtype == torch.bfloat16
        assert error_px >= 1
