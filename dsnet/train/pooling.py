"""Region pooling whose backward pass is matrix products.

torchvision's is a single thread that adds one number at a time: on a CPU a sixth of a training
step. What is pooled does not change, and gradients change by rounding alone.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign


class ProductPool(MultiScaleRoIAlign):  # type: ignore[misc]  # torchvision has no types
    """`MultiScaleRoIAlign` with a gradient of its own on a CPU.

    RoIAlign without alignment (https://arxiv.org/abs/1703.06870) is linear in its map F and apart
    in rows and columns: a region's value is A F B^T, with weights A (bins, height) and B
    (bins, width) that follow from its box. So the gradient of F is A^T G B.
    """

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        """Return the pooled regions, (regions, channels, bins, bins).

        Parameters
        ----------
        x : dict of Tensor
            Maps, each (images, channels, height, width).
        boxes : list of float32 (regions, 4)
            Of each image, in its pixels and within it.
        image_shapes : list of (height, width)
        """
        used = {name: level for name, level in x.items() if name in self.featmap_names}
        pooled: Tensor
        if boxes[0].device.type == "cpu":
            pooled = _Pool.apply(self, boxes, image_shapes, tuple(used), *used.values())
        else:
            pooled = super().forward(used, boxes, image_shapes)
        return pooled


def pool_by_products(network: nn.Module) -> None:
    """Make each pooling of `network` a `ProductPool`."""
    for module in network.modules():
        if type(module) is MultiScaleRoIAlign:
            module.__class__ = ProductPool


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pool: ProductPool,
        boxes: list[Tensor],
        image_shapes: list[tuple[int, int]],
        names: tuple[str, ...],
        *maps: Tensor,
    ) -> Tensor:
        ctx.pool, ctx.boxes = pool, boxes
        ctx.maps = [(level.shape, level.dtype) for level in maps]
        levels = dict(zip(names, maps, strict=True))
        pooled: Tensor = MultiScaleRoIAlign.forward(pool, levels, boxes, image_shapes)
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pool, boxes = ctx.pool, torch.cat(ctx.boxes)
        level_of = pool.map_levels(ctx.boxes)
        owner = torch.repeat_interleave(torch.tensor([len(own) for own in ctx.boxes]))
        by_bin = gradient.float().permute(0, 2, 3, 1)  # regions, bins, bins, channels
        found: list[Tensor | None] = [None] * 4
        for number, (shape, dtype) in enumerate(ctx.maps):
            level = torch.zeros(shape[0], *shape[2:], shape[1])  # channels last
            for image in range(shape[0]):
                at = torch.where((level_of == number) & (owner == image))[0]
                if not len(at):
                    continue
                level[image] = _spread(by_bin[at], boxes[at] * pool.scales[number], shape, pool)
            found.append(level.permute(0, 3, 1, 2).to(dtype))
        return tuple(found)


def _spread(gradient: Tensor, boxes: Tensor, shape: torch.Size, pool: ProductPool) -> Tensor:
    """Return what regions give back to the map of one image, (height, width, channels)."""
    (_, channels, height, width), (down, across) = shape, pool.output_size
    rows = _weights(boxes[:, 1], boxes[:, 3], down, height, pool.sampling_ratio)
    columns = _weights(boxes[:, 0], boxes[:, 2], across, width, pool.sampling_ratio)
    wide = columns.transpose(1, 2)[:, None] @ gradient  # regions, bins, width, channels
    return (rows.flatten(0, 1).T @ wide.flatten(0, 1).flatten(1)).view(height, width, channels)


def _weights(low: Tensor, high: Tensor, bins: int, length: int, samples: int) -> Tensor:
    """Return the share of each pixel in each bin along one axis, (regions, bins, length)."""
    step = (high - low).clamp(min=1) / (bins * samples)
    at = low[:, None] + (torch.arange(bins * samples) + 0.5) * step[:, None]
    apart = at.clamp(0, length - 1)[:, :, None] - torch.arange(length)
    shares = (1 - apart.abs()).clamp(min=0)
    # A sliver counts as one pixel wide: it may reach over the edge, where there is nothing.
    shares[at > length] = 0
    return shares.view(len(low), bins, samples, length).mean(dim=2)
