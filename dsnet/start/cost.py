"""Time and disk that the configured training takes on this machine, from two batches of noise."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pandas as pd

from dsnet import slice_tables as schemas
from dsnet.audit.explain import count_of
from dsnet.config.detector import Detector, Train, Variant
from dsnet.config.load import Config
from dsnet.detect.dataset import SliceDataset
from dsnet.detect.device import reproducible, this_machine
from dsnet.detect.model import build
from dsnet.processes import cpus, training_cores
from dsnet.slice_tables import BOX, CLASSES
from dsnet.train.launch import launched, open_fabric
from dsnet.train.step import sgd, train_one_epoch, validate

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
    folders = (config.results, *config.results.resolve().parents)
    there = next(folder for folder in folders if folder.exists())
    return Cost(
        hours=ceil(trainings / at_once) * seconds / 3600,
        disk_bytes=store + weights * (trainings + at_once * _CHECKPOINT),
        free_bytes=shutil.disk_usage(there).free,
        trainings=trainings,
        at_once=at_once,
        machine=f"{one.device}, {count_of(one.threads, 'thread')} each, {one.precision}",
    )


_BODY_MM = (45.0, 33.0)
"""Width and depth of the box in each image of noise."""


@dataclass(frozen=True)
class Measured:
    """What one detector takes, on one device.

    Attributes
    ----------
    train_seconds, validate_seconds : float
        For one image.
    parameters : int
    device, precision : str
    threads : int
    """

    train_seconds: float
    validate_seconds: float
    parameters: int
    device: str
    precision: str
    threads: int


def measure(
    detector: Detector,
    params: Train,
    variant: Variant,
    *,
    size_px: int,
    pixel_mm: float,
    threads: int,
) -> Measured:
    """Train a detector on one batch twice, the second time by the clock; then detect.

    Nothing is loaded or kept: weights are random and norms train, as else activations would grow
    without bound. Noise has more proposals than anatomy, and all layers train, so that the time is
    an upper estimate.

    Parameters
    ----------
    detector : Detector
    params : Train
    variant : Variant
    size_px, pixel_mm : int, float
        Of the grid.
    threads : int
        CPUs that compute.
    """
    machine = replace(this_machine(params.precision), threads=threads)
    fabric = open_fabric(1, 1, machine)
    with TemporaryDirectory() as folder, reproducible(machine), launched(fabric, 1, 1):
        noise = _noise(Path(folder), params.batch_size, size_px, pixel_mm, detector)
        random = detector.model_copy(update={"weights": "none", "norm": "batch"})
        network = build(random, variant, size_px=size_px, pixel_mm=pixel_mm)
        precision = fabric.strategy.precision.precision
        model, optimizer = fabric.setup(network, sgd(network, params, precision))
        seconds = 0.0
        for epoch in range(2):
            start = time.monotonic()
            train_one_epoch(fabric, model, optimizer, noise, params, seed=0, epoch=epoch)
            seconds = time.monotonic() - start
        start = time.monotonic()
        validate(network, noise)
        validation = time.monotonic() - start
    return Measured(
        seconds / len(noise),
        validation / len(noise),
        sum(weight.numel() for weight in network.parameters()),
        machine.name,
        machine.precision,
        machine.threads,
    )


def _noise(
    folder: Path, images: int, size_px: int, pixel_mm: float, detector: Detector
) -> SliceDataset:
    """Return a data set of noise, each image with one box in its middle."""
    keys = [f"I-{number:016x}" for number in range(images)]
    patients = [f"P-{number:016x}" for number in range(images)]
    classes = [CLASSES[number % len(CLASSES)] for number in range(images)]
    half = [min(edge / pixel_mm, size_px - 2) / 2 for edge in _BODY_MM]
    edges = [size_px / 2 + sign * half[axis] for sign in (-1, 1) for axis in (0, 1)]
    boxes = pd.DataFrame({"row": range(images), "image_key": keys, "patient_key": patients})
    boxes = boxes.assign(level="L1", label=classes, **dict(zip(BOX, edges, strict=True)))
    split = pd.DataFrame({"image_key": keys, "patient_key": patients})
    split = split.assign(subset="train", stratum=classes)
    schemas.write(schemas.SLICES, boxes[list(schemas.SLICES.columns)], folder / "slices.csv")
    columns = [name for name, column in schemas.SPLIT.columns.items() if column.required]
    schemas.write(schemas.SPLIT, split[columns], folder / "split.csv")
    store = folder / "slices.npy"
    hu = np.random.default_rng(0).integers(-1000, 1500, (images, size_px, size_px), dtype=np.int16)
    np.save(store, hu)
    return SliceDataset(
        "train",
        store=store,
        boxes=folder / "slices.csv",
        split=folder / "split.csv",
        windows=detector.windows,
    )
