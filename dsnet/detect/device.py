"""The machine: which device computes, in which precision, on how many CPUs.

And the layers whose gradient on a CPU is too slow, or wrong, as torch and torchvision compute it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.utils.deterministic
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign

from dsnet.processes import cpus

Wanted = Literal["auto", "32", "bf16", "16"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]

_CPU_INFO = Path("/proc/cpuinfo")
_BF16_UNITS = {"avx512_bf16", "amx_bf16"}


@dataclass(frozen=True)
class Machine:
    """What computes.

    Attributes
    ----------
    device : torch.device
    name : str
        Its product name.
    threads : int
        CPUs for torch: what Snakemake gives the rule (OMP_NUM_THREADS), and no more than there are.
    precision : str
        In Lightning's words.
    """

    device: torch.device
    name: str
    threads: int
    precision: Precision

    def facts(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return {**asdict(self), "device": self.device.type}


def this_machine(wanted: Wanted = "32") -> Machine:
    """Return the first CUDA device, else the CPU, with the precision `wanted`."""
    used = device()
    if used.type == "cuda":
        name = torch.cuda.get_device_name(used)
    else:
        lines = [line for line in _cpu_info() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else "CPU"
    threads = min(torch.get_num_threads(), cpus())
    return Machine(used, name, threads, _precision(wanted, used))


def device() -> torch.device:
    """Return the first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _precision(wanted: Wanted, used: torch.device) -> Precision:
    """Return the precision of training; ``auto`` is bf16 where the device computes in it.

    A CPU without units for bf16 would emulate it, which is slower than float32. None computes in
    float16: asked for it, a CPU takes bf16, as in Lightning.
    """
    if wanted == "16" and used.type == "cuda":
        return "16-mixed"
    if wanted in ("bf16", "16") or (wanted == "auto" and _has_bf16(used)):
        return "bf16-mixed"
    return "32-true"


@contextmanager
def reproducible(machine: Machine) -> Iterator[None]:
    """Compute on the CPUs of `machine` and, without a GPU, with deterministic algorithms only.

    On CUDA the gradient of region pooling adds in no fixed order, and its deterministic form needs
    a compiler at run time: there, two runs of one seed agree only nearly.
    """
    threads = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic  # its switch is made at run time
    fill = memory.fill_uninitialized_memory
    # Filling fresh memory exposes faulty kernels, but takes a tenth of the time.
    memory.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(machine.device.type == "cpu")
    torch.set_num_threads(machine.threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict)
        memory.fill_uninitialized_memory = fill
        torch.set_num_threads(threads)


def _has_bf16(used: torch.device) -> bool:
    if used.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = [line for line in _cpu_info() if line.startswith("flags")]
    return bool(flags) and not _BF16_UNITS.isdisjoint(flags[0].split())


def _cpu_info() -> list[str]:
    """Return the lines in which Linux describes the CPUs; none on other systems."""
    return _CPU_INFO.read_text(encoding="utf-8").splitlines() if _CPU_INFO.exists() else []


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
