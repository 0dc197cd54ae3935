"""Training and inference beside torchvision's reference loop, interleaved in one process.

``python benchmarks/training.py`` prints one row per detector: seconds a step of both loops, their
ratio with its quartiles over the blocks, and the same for one image at inference. Both loops have
the same network, images, optimiser and precision; the reference is that of torchvision's
references/detection/engine.py, whose images are ready in memory, while ours reads, changes and
windows Hounsfield units as in every training. On a GPU it also prints memory, and how often a step
makes the host wait.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator

from dsnet import slice_tables as schemas
from dsnet.config.detector import Detector, Train, Variant
from dsnet.detect.attention import attention_module
from dsnet.detect.backbone import attention_channels, insert_attention
from dsnet.detect.dataset import SliceDataset
from dsnet.detect.device import replace_layers, this_machine
from dsnet.detect.inference import detect, freeze
from dsnet.detect.model import build
from dsnet.train.launch import open_fabric
from dsnet.train.step import sgd, train_one_epoch

FIELD_MM = 144.0
BLOCK = 5
"""Steps of one loop before the other's turn."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-px", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--proposals", type=int, default=50)
    parser.add_argument("--roi-samples", type=int, default=16)
    parser.add_argument("--precision", choices=["32", "bf16"], default="32")
    parser.add_argument("--attention", nargs="*", default=["none", "se", "sk", "ds"])
    arguments = parser.parse_args()
    table = Table(
        *("attention", "train ms", "torchvision's", "ratio", "quartiles", "images/s"),
        *("syncs a step", "peak GB", "GPU %"),
        *("detect ms", "torchvision's", "ratio", "to none"),
        title=f"{arguments.size_px} px, batch {arguments.batch}, {arguments.precision}, "
        f"{this_machine().name}, {torch.get_num_threads()} threads, torch {torch.__version__}",
    )
    alone: list[float] = []
    for attention in arguments.attention:
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            table.add_row(attention, *measure(arguments, attention, Path(folder), alone))
    Console(width=150).print(table)


def measure(
    arguments: argparse.Namespace, attention: str, folder: Path, alone: list[float]
) -> list[str]:
    """Return the cells of one row; `alone` gets, or gives, the milliseconds without attention."""
    config = Detector(
        weights="none",
        loss="ce",
        proposals=arguments.proposals,
        roi_samples=arguments.roi_samples,
    )
    machine = this_machine(arguments.precision)
    cuda = machine.device.type == "cuda"
    dataset = made_dataset(folder, arguments, config)
    ours = our_loop(config, attention, dataset, arguments)
    theirs = reference_loop(config, attention, dataset, arguments)
    loops = (ours, theirs)
    on_gpu = [gpu_facts(loop) if cuda else "-" for loop in loops]
    seconds: tuple[list[float], list[float]] = ([], [])
    busy: tuple[list[int], list[int]] = ([], [])
    for block in range(1 + arguments.steps // BLOCK):
        for which in (0, 1) if block % 2 else (1, 0):
            start = time.perf_counter()
            loops[which](BLOCK)
            if block:  # the first warms up
                seconds[which].append((time.perf_counter() - start) / BLOCK)
                busy[which].append(torch.cuda.utilization() if cuda else 0)
    mine, reference = ms_of_detection(config, attention, dataset, arguments)
    if not alone:
        alone.append(mine)
    return [
        *ratios(*seconds),
        " / ".join(f"{arguments.batch / statistics.median(each):.1f}" for each in seconds),
        " / ".join(facts.split()[0] for facts in on_gpu),
        " / ".join(facts.split()[-1] for facts in on_gpu),
        " / ".join(f"{statistics.mean(each):.0f}" for each in busy),
        f"{mine:.1f}",
        f"{reference:.1f}",
        f"{reference / mine:.2f}",
        f"{mine / alone[0]:.3f}",
    ]


def ratios(ours: list[float], theirs: list[float]) -> list[str]:
    """Return the medians in ms, and the median ratio with its quartiles."""
    each = [other / own for own, other in zip(ours, theirs, strict=True)]
    medians = [f"{1000 * statistics.median(values):.1f}" for values in (ours, theirs)]
    return [*medians, *quartiles(each, 2)]


def quartiles(values: list[float], digits: int) -> list[str]:
    """Return the median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return [f"{middle:.{digits}f}", f"{low:.{digits}f} to {high:.{digits}f}"]


def made_dataset(folder: Path, arguments: argparse.Namespace, config: Detector) -> SliceDataset:
    """Write a store of noise with one box an image; return it as a training subset."""
    count, size = BLOCK * arguments.batch, arguments.size_px
    random = np.random.default_rng(0)
    images = random.integers(-100, 400, (count, size, size)).astype(np.int16)
    np.save(folder / "store.npy", images)
    keys = [f"I-{number:016x}" for number in range(count)]
    centre = size * random.uniform(0.4, 0.6, (count, 2))
    half = size * np.array([0.155, 0.115])
    corners = np.concatenate([centre - half, centre + half], axis=1)
    labels = [schemas.CLASSES[number % 3] for number in range(count)]
    patients = [f"P-{number:016x}" for number in range(count)]
    boxes = pd.DataFrame({"row": range(count), "image_key": keys, "patient_key": patients})
    boxes[list(schemas.BOX)] = corners
    boxes["label"], boxes["level"] = labels, "L1"
    split = pd.DataFrame({"image_key": keys, "patient_key": patients, "subset": "train"})
    split["stratum"] = labels
    columns = [name for name in schemas.SLICES.columns if name in boxes]
    boxes[columns].to_csv(folder / "boxes.csv", index=False)
    split.to_csv(folder / "split.csv", index=False)
    return SliceDataset(
        "train",
        store=folder / "store.npy",
        boxes=folder / "boxes.csv",
        split=folder / "split.csv",
        windows=config.windows,
    )


def our_loop(
    config: Detector, attention: str, dataset: SliceDataset, arguments: argparse.Namespace
) -> Callable[[int], None]:
    """Return what trains so many steps as the workflow does."""
    machine = this_machine(arguments.precision)
    params = Train(batch_size=arguments.batch, schedule="constant", learning_rate=1e-3)
    fabric = open_fabric(1, 1, machine)
    fabric.launch()
    network = ours(config, attention, arguments).to(memory_format=torch.channels_last)
    replace_layers(network)
    model, optimizer = fabric.setup(network, sgd(network, params, machine.precision))
    epoch = 0

    def loop(steps: int) -> None:
        nonlocal epoch
        for _ in range(max(1, steps // BLOCK)):  # an epoch is a block
            train_one_epoch(fabric, model, optimizer, dataset, params, seed=0, epoch=epoch)
            epoch += 1
        wait()

    return loop


def ours(config: Detector, attention: str, arguments: argparse.Namespace) -> Any:
    """Return this project's detector."""
    variant = Variant.model_validate(f"resnet50/{attention}")
    size = arguments.size_px
    return build(config, variant, size_px=size, pixel_mm=FIELD_MM / size)


def reference(config: Detector, attention: str, arguments: argparse.Namespace) -> Any:
    """Return torchvision's detector with the same settings and the same attention."""
    size, proposals = arguments.size_px, config.proposals
    edges = tuple((edge * size / FIELD_MM,) for edge in config.anchor_mm)
    network = fasterrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=1 + len(schemas.CLASSES),
        min_size=size,
        max_size=size,
        rpn_anchor_generator=AnchorGenerator(edges, ((0.5, 1.0, 2.0),) * len(edges)),
        rpn_pre_nms_top_n_train=proposals,
        rpn_pre_nms_top_n_test=proposals,
        rpn_post_nms_top_n_train=proposals,
        rpn_post_nms_top_n_test=proposals,
        box_batch_size_per_image=config.roi_samples,
        box_score_thresh=schemas.SCORE_FLOOR,
    )
    variant = Variant.model_validate(f"resnet50/{attention}")
    sites = attention_channels(variant.backbone, config.attention.sites)
    modules = {
        site: attention_module(variant.attention, channels, config.attention)
        for site, channels in sites.items()
    }
    insert_attention(network.backbone, modules)
    return network


def reference_loop(
    config: Detector, attention: str, dataset: SliceDataset, arguments: argparse.Namespace
) -> Callable[[int], None]:
    """Return what trains so many steps as torchvision's train_one_epoch does."""
    machine = this_machine(arguments.precision)
    device = machine.device
    network = reference(config, attention, arguments).to(device).train()
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=1e-3, momentum=0.9, weight_decay=1e-4)
    examples = [dataset[index] for index in range(len(dataset))]

    def step(number: int) -> None:
        some = [
            examples[(number * arguments.batch + i) % len(examples)] for i in range(arguments.batch)
        ]
        images = [example.image.to(device) for example in some]
        targets = [
            {"boxes": example.boxes.to(device), "labels": example.labels.to(device)}
            for example in some
        ]
        half = arguments.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16) if half else nullcontext():
            losses: dict[str, Tensor] = network(images, targets)
            total = sum(losses.values(), torch.zeros((), device=device))
        value = total.item()
        if not np.isfinite(value):
            raise SystemExit(f"the reference's loss is {value}")
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        _ = [loss.item() for loss in losses.values()]  # its metric logger

    def loop(steps: int) -> None:
        for number in range(steps):
            step(number)
        wait()

    return loop


def ms_of_detection(
    config: Detector, attention: str, dataset: SliceDataset, arguments: argparse.Namespace
) -> tuple[float, float]:
    """Return the median milliseconds of one image, ours and torchvision's, in turn."""
    device = this_machine().device
    networks = (
        freeze(ours(config, attention, arguments).to(device)),
        reference(config, attention, arguments).to(device).eval(),
    )
    seconds: tuple[list[float], list[float]] = ([], [])
    for index in range(5 + arguments.steps):
        image = dataset[index % len(dataset)].image
        for network, times in zip(networks, seconds, strict=True):
            start = time.perf_counter()
            detect(network, [image])
            times.append(time.perf_counter() - start)
    mine, theirs = (1000 * statistics.median(times[5:]) for times in seconds)
    return mine, theirs


def wait() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def gpu_facts(loop: Callable[[int], None]) -> str:
    """Return how often a step makes the host wait, by torch's own account, and the peak in GB."""
    loop(BLOCK)
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loop(BLOCK)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = sum("synchron" in str(one.message) for one in caught)
    return f"{waits / BLOCK:.0f} {torch.cuda.max_memory_allocated() / 1e9:.1f}"


if __name__ == "__main__":
    main()
