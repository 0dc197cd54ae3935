"""Speed of all variants, side by side (reading 16): ``python -m dsnet.evaluate.speed``."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torchvision.models.detection import FasterRCNN

from dsnet.config import Detector, Evaluate, Section, Variant
from dsnet.detect.device import all_cpus, this_machine
from dsnet.detect.model import build
from dsnet.detect.predict import detect
from dsnet.detect.weights import load_trained
from dsnet.detect.window import apply_windows
from dsnet.files import write_json
from dsnet.slices.store import SliceStore
from dsnet.step import run

Seconds = NDArray[np.float64]


class Trained(Variant):
    """A variant and its weights."""

    weights: Path


class Models(Section):
    """The variants to be timed."""

    models: Annotated[tuple[Trained, ...], Field(min_length=1)]


def measure(
    *,
    params: Evaluate,
    detector: Detector,
    variants: Models,
    digest: Path,
    store: Path,
    boxes: Path,
    speed: Path,
) -> None:
    """Time all variants in one process, in turn on each image, so that their ratios mean something.

    From Hounsfield units to boxes: windowing, normalisation, network, decoding and suppression.

    Parameters
    ----------
    params : Evaluate
    detector : Detector
        As in training.
    variants : Models
    digest : Path
        ``slices.json``: what the store holds.
    store, boxes : Path
        The slice store and `contract.SLICES`.
    speed : Path
        Written: device, threads, input size, and for each variant what `summary` returns.
    """
    grid = json.loads(digest.read_text(encoding="utf-8"))
    machine = this_machine()
    networks = []
    for variant in variants.models:
        network = build(detector, variant, size_px=grid["size_px"], pixel_mm=grid["pixel_mm"])
        load_trained(network, variant.weights)
        networks.append(network.to(machine.device).eval())
    stored = SliceStore(store, boxes)
    rounds = params.speed_warmup + params.speed_images
    images = [stored.image(row % len(stored)) for row in range(rounds)]
    with all_cpus():
        seconds = interleaved(networks, images, detector)[:, params.speed_warmup :]
    write_json(
        speed,
        {
            **{key: machine.facts()[key] for key in ("device", "name", "threads")},
            "size_px": grid["size_px"],
            "batch_size": 1,
            "images": params.speed_images,
            "variants": summary(variants.models, seconds),
        },
    )


def interleaved(
    networks: Sequence[FasterRCNN], images: Sequence[NDArray[np.int16]], detector: Detector
) -> Seconds:
    """Return the seconds that each network takes on each image, (networks, images).

    Who goes first moves on from image to image: nobody always finds the caches warm.
    """
    seconds = np.zeros((len(networks), len(images)))
    for column, hu in enumerate(images):
        for turn in range(len(networks)):
            place = (column + turn) % len(networks)
            start = time.perf_counter()
            detect(networks[place], [apply_windows(hu, detector.windows)])
            seconds[place, column] = time.perf_counter() - start
    return seconds


def summary(variants: Sequence[Variant], seconds: Seconds) -> list[dict[str, Any]]:
    """Return what the table wants of each variant.

    Parameters
    ----------
    variants : sequence of Variant
    seconds : float64 (variants, images)

    Returns
    -------
    list of dict
        ``fps`` and ``ms_per_image`` (median), ``ms_q1`` and ``ms_q3`` (quartiles), and
        ``fps_to_none``: the median over the images of its speed by that of the same backbone
        without attention; null where that was not timed.
    """
    baselines: dict[str, Seconds] = {
        variant.backbone: row
        for variant, row in zip(variants, seconds, strict=True)
        if variant.attention == "none"
    }
    return [_one(variant, row, baselines) for variant, row in zip(variants, seconds, strict=True)]


def _one(variant: Variant, row: Seconds, baselines: Mapping[str, Seconds]) -> dict[str, Any]:
    q1, median, q3 = (float(1000 * value) for value in np.quantile(row, (0.25, 0.5, 0.75)))
    baseline = baselines.get(variant.backbone)
    return {
        "backbone": variant.backbone,
        "attention": variant.attention,
        "fps": 1000 / median,
        "ms_per_image": median,
        "ms_q1": q1,
        "ms_q3": q3,
        "fps_to_none": None if baseline is None else float(np.median(baseline / row)),
    }


if __name__ == "__main__":
    run(measure)
