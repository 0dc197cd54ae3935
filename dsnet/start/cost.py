"""Time and disk that the configured training takes on this machine."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from dsnet.audit.explain import count_of
from dsnet.config.detector import Variant
from dsnet.config.load import Config
from dsnet.processes import cpus, training_cores

_DETECTORS: Final = 4
"""Of Table 1."""

_FLOAT_BYTES: Final = 4
_PIXEL_BYTES: Final = 2
_CHECKPOINT: Final = 3
"""Weights, momentum, and the weights of the best epoch, of each training that runs."""


@dataclass(frozen=True)
class Cost:
    """What Table 1 takes.

    Attributes
    ----------
    hours : float
        Of all trainings, as many at once as the workflow runs with all cores of the machine.
    disk_bytes, free_bytes : int
        In the results folder, and free there.
    trainings, at_once : int
    machine : str
        What computed when it was measured.
    """

    hours: float
    disk_bytes: int
    free_bytes: int
    trainings: int
    at_once: int
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
    trainings = _DETECTORS * len(params.seeds)
    cores = cpus()
    alone = params.nodes > 1 or params.devices not in (1, "auto")
    threads = cores if alone else training_cores(cores)
    at_once = min(cores // threads, trainings)
    one = measure(
        config.detector,
        params,
        Variant(backbone="resnet50", attention="ds"),
        size_px=grid.size_px,
        pixel_mm=grid.pixel_mm,
        threads=threads,
    )
    epoch = images.get("train", 0) * one.train_seconds
    look = images.get("validation", 0) * one.validate_seconds
    seconds = params.epochs * (epoch + look / params.validate_every)
    weights = _FLOAT_BYTES * one.parameters
    store = _PIXEL_BYTES * sum(images.values()) * grid.size_px**2
    return Cost(
        hours=ceil(trainings / at_once) * seconds / 3600,
        disk_bytes=store + weights * (trainings + at_once * _CHECKPOINT),
        free_bytes=shutil.disk_usage(_existing(config.results)).free,
        trainings=trainings,
        at_once=at_once,
        machine=f"{one.device}, {count_of(one.threads, 'thread')} each, {one.precision}",
    )


def _existing(path: Path) -> Path:
    """Return the folder itself, or the nearest one above it that is there."""
    return next(one for one in (path, *path.resolve().parents) if one.exists())
