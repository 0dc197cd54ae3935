"""Time and disk that the configured training takes on this machine."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dsnet.config.detector import Variant
from dsnet.config.load import Config

_DETECTORS: Final = 4
"""Of Table 1."""

_FLOAT_BYTES: Final = 4
_PIXEL_BYTES: Final = 2
_CHECKPOINT: Final = 3
"""Weights, momentum, and the weights of the best epoch, while one training runs."""


@dataclass(frozen=True)
class Cost:
    """What Table 1 takes.

    Attributes
    ----------
    hours : float
        Of all trainings one after another, on one device.
    disk_bytes, free_bytes : int
        In the results folder, and free there.
    trainings : int
    machine : str
        What computed when it was measured.
    """

    hours: float
    disk_bytes: int
    free_bytes: int
    trainings: int
    machine: str


def cost_of_table1(config: Config, images: Mapping[str, int]) -> Cost:
    """Measure one batch of the dearest detector of Table 1, and count all as dear.

    Parameters
    ----------
    config : Config
    images : mapping of str to int
        Labelled images by subset.
    """
    from dsnet.train.estimate import measure  # noqa: PLC0415 - torch, for this alone

    params, grid = config.train, config.slices
    one = measure(
        config.detector,
        params,
        Variant(backbone="resnet50", attention="ds"),
        size_px=grid.size_px,
        pixel_mm=grid.pixel_mm,
    )
    trainings = _DETECTORS * len(params.seeds)
    epoch = images.get("train", 0) * one.train_seconds
    look = images.get("validation", 0) * one.validate_seconds
    seconds = trainings * params.epochs * (epoch + look / params.validate_every)
    weights = _FLOAT_BYTES * one.parameters
    store = _PIXEL_BYTES * sum(images.values()) * grid.size_px**2
    return Cost(
        hours=seconds / 3600,
        disk_bytes=store + weights * (trainings + _CHECKPOINT),
        free_bytes=shutil.disk_usage(_existing(config.results)).free,
        trainings=trainings,
        machine=f"{one.device}, {one.threads} threads, {one.precision}",
    )


def _existing(path: Path) -> Path:
    """Return the folder itself, or the nearest one above it that is there."""
    return next(one for one in (path, *path.resolve().parents) if one.exists())
