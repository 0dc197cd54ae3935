"""Speed of all variants, side by side (interpretation 16): ``python -m dsnet.inference.speed``."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection import FasterRCNN

from dsnet.config.detector import Detector, Variant
from dsnet.detect.dataset import apply_windows
from dsnet.detect.device import this_machine
from dsnet.detect.inference import detect, freeze
from dsnet.detect.model import build
from dsnet.detect.weights import load_trained
from dsnet.evaluate.intervals import estimate
from dsnet.evaluate.provenance import read_grid
from dsnet.files import write_json
from dsnet.slices import SliceStore
from dsnet.step import run

Seconds = NDArray[np.float64]

_RESAMPLES = 1000


def measure_speed(
    *,
    detector: Detector,
    variants: list[str],
    weights: list[Path],
    images: int,
    warmup: int,
    digest: Path,
    store: Path,
    boxes: Path,
    speed: Path,
) -> None:
    """Time all variants in one process, in turn on each image, so that they can be compared.

    From Hounsfield units to boxes: windowing, normalisation, network, decoding and suppression.

    Parameters
    ----------
    detector : Detector
        As in training.
    variants : list of str
        Such as ``resnet50/ds``.
    weights : list of Path
        One for each variant.
    images, warmup : int
        Slices timed with each variant in turn, and before the clock starts.
    digest : Path
        ``slices.json``: what the store holds.
    store, boxes : Path
        The slice store and `schemas.SLICES`.
    speed : Path
        Written: device, threads, input size, and for each variant what `summary` returns.
    """
    grid = read_grid(digest)
    machine = this_machine()
    torch.set_num_threads(machine.threads)
    networks = []
    timed = [Variant.model_validate(variant) for variant in variants]
    for variant, path in zip(timed, weights, strict=True):
        network = build(detector, variant, **grid)
        load_trained(network, path)
        networks.append(freeze(network.to(machine.device)))
    stored = SliceStore(store, boxes)
    timed_images = [stored.image(row % len(stored)) for row in range(warmup + images)]
    seconds = interleaved(networks, timed_images, detector)[:, warmup:]
    write_json(
        speed,
        {
            **{key: machine.facts()[key] for key in ("device", "name", "threads")},
            "size_px": grid["size_px"],
            "batch_size": 1,
            "images": images,
            "interval": "95 % bootstrap over the images, of the median",
            "variants": summary(timed, seconds),
        },
    )


def interleaved(
    networks: Sequence[FasterRCNN], images: Sequence[NDArray[np.int16]], detector: Detector
) -> Seconds:
    """Return the seconds that each network takes on each image, (networks, images).

    Each image is timed first with the next network, so that none always has warm caches.
    """
    seconds = np.zeros((len(networks), len(images)))
    for column, hu in enumerate(images):
        for offset in range(len(networks)):
            row = (column + offset) % len(networks)
            start = time.perf_counter()
            detect(networks[row], [apply_windows(hu, detector.windows)])
            seconds[row, column] = time.perf_counter() - start
    return seconds


def summary(variants: Sequence[Variant], seconds: Seconds) -> list[dict[str, Any]]:
    """Return the figures of each variant.

    Parameters
    ----------
    variants : sequence of Variant
    seconds : float64 (variants, images)

    Returns
    -------
    list of dict
        ``fps`` and ``ms_per_image`` (median), ``ms_q1`` and ``ms_q3`` (quartiles), and
        ``fps_to_none`` and ``fps_to_resnet50``: the median over the images of its speed by that of
        the same backbone, or of ResNet50, without attention, each with ``_low`` and ``_high``;
        null where that was not timed.
    """
    timed = {
        (variant.backbone, variant.attention): row
        for variant, row in zip(variants, seconds, strict=True)
    }
    return [
        {
            "backbone": variant.backbone,
            "attention": variant.attention,
            **_times(row),
            **_ratio("fps_to_none", timed.get((variant.backbone, "none")), row),
            **_ratio("fps_to_resnet50", timed.get(("resnet50", "none")), row),
        }
        for variant, row in zip(variants, seconds, strict=True)
    ]


def _times(row: Seconds) -> dict[str, float]:
    q1, median, q3 = (float(1000 * value) for value in np.quantile(row, (0.25, 0.5, 0.75)))
    return {"fps": 1000 / median, "ms_per_image": median, "ms_q1": q1, "ms_q3": q3}


def _ratio(name: str, baseline: Seconds | None, row: Seconds) -> dict[str, float | None]:
    """Return the median over the images of `baseline` by `row`, with its bounds."""
    bounds: dict[str, float | None] = {"value": None, "low": None, "high": None}
    if baseline is not None:
        ratio = baseline / row
        random = np.random.default_rng([0, 3])
        resamples = random.integers(len(ratio), size=(_RESAMPLES, len(ratio)))
        medians = np.append(np.median(ratio), np.median(ratio[resamples], axis=1))
        bounds = estimate(medians)
    return {name: bounds["value"], f"{name}_low": bounds["low"], f"{name}_high": bounds["high"]}


if __name__ == "__main__":
    run(measure_speed)
