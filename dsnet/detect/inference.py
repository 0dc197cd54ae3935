"""Running a detector on images, and its detections as a table (docs/interpretations.md#16b)."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.models.detection import FasterRCNN
from torchvision.ops import FrozenBatchNorm2d

from dsnet.detect.attention import residuals
from dsnet.detect.dataset import Negatives, SliceDataset
from dsnet.slice_tables import BOX, CLASSES

_PROBABILITIES = ("p_background", *(f"p_{name}" for name in CLASSES))


_NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def freeze(network: FasterRCNN) -> FasterRCNN:
    """Make a trained network faster, after which it cannot be trained further; return it.

    Norms become part of the convolutions before them, and pixels stand before channels in memory.
    Outputs change by rounding only.
    """
    for parent in network.eval().modules():
        before: nn.Module | None = None
        for name, child in list(parent.named_children()):
            # VGG16's norms begin a sequence (dsnet.detect.backbone.vgg16).
            nested = isinstance(child, nn.Sequential) and isinstance(
                next(iter(child), None), _NORMS
            )
            owner, key, norm = (child, "0", child[0]) if nested else (parent, name, child)
            if isinstance(before, nn.Conv2d) and isinstance(norm, _NORMS):
                statistics: tuple[Any, Any, float] = (norm.running_mean, norm.running_var, norm.eps)
                before.weight, before.bias = fuse_conv_bn_weights(
                    before.weight, before.bias, *statistics, norm.weight, norm.bias
                )
                setattr(owner, key, nn.Identity())
            before = child
    return network.to(memory_format=torch.channels_last)


def predict(
    network: FasterRCNN, dataset: SliceDataset | Negatives, *, batch_size: int = 8
) -> pd.DataFrame:
    """Return every detection on the images of `dataset`.

    In float32 regardless of the precision of training (docs/interpretations.md#9). The network's
    mode and torch's random state are left as they were.

    Parameters
    ----------
    network : FasterRCNN
        From `dsnet.detect.model.build`.
    dataset : SliceDataset or Negatives
    batch_size : int
        Images at a time.

    Returns
    -------
    DataFrame
        Under `schemas.PREDICTIONS`; images in the order of the data set, the best box first.
    """
    training = network.training
    network.eval()
    keys: list[str] = []
    detections: list[dict[str, Tensor]] = []
    for start in range(0, len(dataset), batch_size):
        indices = range(start, min(start + batch_size, len(dataset)))
        examples = [dataset[index] for index in indices]
        keys += [example.image_key for example in examples]
        detections += detect(network, [example.image for example in examples])
    network.train(training)
    return _table(keys, detections)


def detect(network: FasterRCNN, images: list[Tensor]) -> list[dict[str, Tensor]]:
    """Return the detections on `images`, on the CPU.

    Parameters
    ----------
    network : FasterRCNN
        In evaluation mode.
    images : list of float32 (3, height, width)
        In [0, 1].

    Returns
    -------
    list of dict
        As `dsnet.detect.heads.Heads.detect`.
    """
    device = next(network.parameters()).device
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        detections = network([image.to(device) for image in images])
    return [{name: values.cpu() for name, values in one.items()} for one in detections]


def branch_shares(network: FasterRCNN, dataset: SliceDataset) -> dict[str, float]:
    """Return how large the branch of each attention is, relative to its input.

    Parameters
    ----------
    network : FasterRCNN
    dataset : SliceDataset
        Images on which it is measured.

    Returns
    -------
    dict of float
        By the name of each `dsnet.detect.attention.Residual`: the root mean square of gamma A(x),
        divided by that of x.
    """
    branches = residuals(network)
    if not branches:
        return {}
    squares: dict[str, list[float]] = {name: [0.0, 0.0] for name in branches}

    def add(sums: list[float], _module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        for number, values in enumerate((output - inputs[0], inputs[0])):
            sums[number] += values.double().square().sum().item()

    hooks = [
        module.register_forward_hook(partial(add, squares[name]))
        for name, module in branches.items()
    ]
    try:
        predict(network, dataset)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: math.sqrt(branch / whole) for name, (branch, whole) in squares.items()}


def _table(keys: list[str], detections: list[dict[str, Tensor]]) -> pd.DataFrame:
    """Return the detections of all images; a row's label is the class whose box it is."""
    shapes = {"boxes": (0, 4), "labels": (0,), "scores": (0,), "probabilities": (0, 4)}
    none = {name: torch.zeros(shape) for name, shape in shapes.items()}
    none["labels"] = none["labels"].long()
    every = {name: torch.cat([one[name] for one in [*detections, none]]) for name in none}
    counts = [len(one["labels"]) for one in detections]
    columns = {
        "image_key": np.repeat(np.array(keys, dtype=object), counts),
        **_columns(BOX, every["boxes"]),
        "label": np.array(CLASSES, dtype=object)[every["labels"].numpy() - 1],
        "score": every["scores"].double().numpy(),
        **_columns(_PROBABILITIES, every["probabilities"]),
    }
    return pd.DataFrame(columns).astype({"image_key": str, "label": str})


def _columns(names: Sequence[str], values: Tensor) -> dict[str, NDArray[np.float64]]:
    return dict(zip(names, values.double().numpy().T, strict=True))
