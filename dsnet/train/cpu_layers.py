"""Layers whose gradient on a CPU is too slow, or wrong, as torch and torchvision compute it."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign


class ProductPool(MultiScaleRoIAlign):  # type: ignore[misc]  # torchvision has no types
    """`MultiScaleRoIAlign` whose backward pass on a CPU is matrix products.

    torchvision's is a single thread that adds one number at a time: a sixth of a training step.
    Pooled values do not change, and gradients differ by rounding only.

    RoIAlign without alignment (https://arxiv.org/abs/1703.06870) is linear in its map F and
    separable in rows and columns: a region's value is A F B^T, with weights A (bins, height) and B
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


class Float32Conv2d(nn.Conv2d):
    """A convolution in float32 on a CPU, regardless of the precision around it.

    The gradient of the weights of a grouped and dilated convolution in bf16 reads memory that was
    never written (oneDNN 3.13 in torch 2.15, on CPUs with AVX512-BF16, maps of about 31 pixels and
    more, fewer than 16 channels in a group): values of 1e18 and above, others in each run.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return the convolution; float32 on a CPU."""
        if input.device.type != "cpu":
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float())


def replace_layers(network: nn.Module) -> None:
    """Replace region pooling, and grouped and dilated convolutions, by the classes above.

    In place; weights and their names stay.
    """
    for module in network.modules():
        if type(module) is MultiScaleRoIAlign:
            module.__class__ = ProductPool
        elif type(module) is nn.Conv2d and module.groups > 1 and max(module.dilation) > 1:
            module.__class__ = Float32Conv2d


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
        gradients: list[Tensor | None] = [None] * 4
        for number, (shape, dtype) in enumerate(ctx.maps):
            level = torch.zeros(shape[0], *shape[2:], shape[1])  # channels last
            for image in range(shape[0]):
                at = torch.where((level_of == number) & (owner == image))[0]
                if not len(at):
                    continue
                level[image] = _map_gradient(
                    by_bin[at], boxes[at] * pool.scales[number], shape, pool
                )
            gradients.append(level.permute(0, 3, 1, 2).to(dtype))
        return tuple(gradients)


def _map_gradient(gradient: Tensor, boxes: Tensor, shape: torch.Size, pool: ProductPool) -> Tensor:
    """Return the gradient of the map of one image, (height, width, channels)."""
    (_, channels, height, width), (down, across) = shape, pool.output_size
    rows = _weights(boxes[:, 1], boxes[:, 3], down, height, pool.sampling_ratio)
    columns = _weights(boxes[:, 0], boxes[:, 2], across, width, pool.sampling_ratio)
    wide = columns.transpose(1, 2)[:, None] @ gradient  # regions, bins, width, channels
    return (rows.flatten(0, 1).T @ wide.flatten(0, 1).flatten(1)).view(height, width, channels)


def _weights(low: Tensor, high: Tensor, bins: int, length: int, samples: int) -> Tensor:
    """Return the share of each pixel in each bin along one axis, (regions, bins, length)."""
    step = (high - low).clamp(min=1) / (bins * samples)
    at = low[:, None] + (torch.arange(bins * samples) + 0.5) * step[:, None]
    distance = at.clamp(0, length - 1)[:, :, None] - torch.arange(length)
    shares = (1 - distance.abs()).clamp(min=0)
    # A narrower box counts as one pixel wide: it may reach over the edge, where there is nothing.
    shares[at > length] = 0
    return shares.view(len(low), bins, samples, length).mean(dim=2)
