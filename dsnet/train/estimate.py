"""How long the configured training takes on this machine, from two batches of noise."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from dsnet import slice_tables as schemas
from dsnet.config.detector import Detector, Train, Variant
from dsnet.detect.dataset import SliceDataset
from dsnet.detect.device import reproducible, this_machine
from dsnet.detect.model import build
from dsnet.slice_tables import BOX, CLASSES
from dsnet.train.launch import launched, open_fabric
from dsnet.train.step import sgd, train_one_epoch, validate

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
