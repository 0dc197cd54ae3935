"""Training of one detector, on Lightning Fabric: ``python -m dsnet.train.step``.

It reads from top to bottom: `train` prepares and writes the result, `fit` is the loop, and what
follows is what the loop calls. Everything random or scheduled follows from (seed, epoch, batch,
rank), never from what ran before: a training that was killed and resumed equals an uninterrupted
one bit for bit.
"""

import hashlib
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from dsnet import slice_tables as schemas
from dsnet.config.detector import Detector, Train, Variant
from dsnet.detect.attention import project_gammas, residuals
from dsnet.detect.backbone import ATTENTION_PREFIX
from dsnet.detect.dataset import Negatives, SliceDataset
from dsnet.detect.device import replace_layers, reproducible, this_machine
from dsnet.detect.heads import class_loss
from dsnet.detect.inference import branch_shares, predict
from dsnet.detect.model import build, frozen_norm, trainable_layers
from dsnet.detect.weights import load_start, read_state
from dsnet.errors import UserError
from dsnet.evaluate.average_precision import ap50
from dsnet.evaluate.scene import scene
from dsnet.files import read_json, sha256, write_json
from dsnet.slice_tables import is_leaky
from dsnet.source_digest import commit, versions
from dsnet.step import run
from dsnet.train.checkpoints import RunFolder, run_folder, save
from dsnet.train.data import (
    Stream,
    class_weights,
    epoch_batches,
    epoch_images,
    image_classes,
    loaded,
    negatives_per_batch,
    on_device,
    torch_seed,
    with_negatives,
)
from dsnet.train.launch import device_count, launched, open_fabric, share_norms

Row = dict[str, Any]
"""One epoch of the history, under `schemas.HISTORY`."""

_CHECKPOINT_FORMAT = 3  # a checkpoint of another is not resumed
_DATA = ("cohort", "synthetic", "size_px", "pixel_mm")
_VALIDATION = {"validation_map": "map", "validation_box_ap50": "box_ap50"}
_DROPS = (0.60, 0.85)  # of all steps; torchvision's reference drops after 16 and 22 of 26 epochs


def train(
    *,
    detector: Detector,
    params: Train,
    variant: Variant,
    seed: int,
    digest: Path,
    store: Path,
    boxes: Path,
    split: Path,
    weights: Path,
    history: Path,
    manifest: Path,
    checkpoints: Path,
    negatives: Path | None = None,
    negatives_table: Path | None = None,
) -> None:
    """Train one detector; the test images are never read.

    Parameters
    ----------
    detector : Detector
    params : Train
    variant : Variant
    seed : int
        Of the weights, the order, the augmentation and the sampling of proposals.
    digest : Path
        ``slices.json``: what the store holds.
    store, boxes, split : Path
        The slice store, `schemas.SLICES` and `schemas.SPLIT`.
    weights : Path
        Written: the state dict of the epoch that counts (docs/interpretations.md#10).
    history : Path
        Written: losses, validation and seconds of each epoch.
    manifest : Path
        Written: where the weights come from, as JSON.
    checkpoints : Path
        A folder of this detector only, from which a killed training is resumed. Emptied at the end.
        In a training on several nodes, all must see it.
    negatives, negatives_table : Path, optional
        Slices without L1 to L4, as `dsnet.slices.negatives` stores them, for ``train.negatives``.

    Raises
    ------
    UserError
        If the start weights cannot be had, the loss is not finite, the same training runs already,
        or the devices are not those that `params` asks for.
    """
    facts = read_json(digest, *_DATA)
    training, validation = (
        SliceDataset(subset, store=store, boxes=boxes, split=split, windows=detector.windows)
        for subset in ("train", "validation")
    )
    if negatives is not None and negatives_table is not None:
        training.negatives = Negatives("train", negatives, negatives_table, detector.windows)
    network = build(
        detector, variant, size_px=facts["size_px"], pixel_mm=facts["pixel_mm"], seed=seed
    )
    class_weight = class_weights(training, params)
    network.roi_heads.class_loss = class_loss(detector, class_weight)
    start = asdict(load_start(network, detector, variant.backbone))

    machine = this_machine(params.precision)
    per_epoch = len(epoch_images(image_classes(training), params, seed=seed, epoch=0))
    devices = device_count(params, machine, per_epoch)
    fabric = open_fabric(devices, params.nodes, machine)
    record = {
        "settings": {
            "variant": variant.model_dump(),
            "seed": seed,
            "detector": detector.model_dump(),
            "train": params.model_dump(exclude={"seeds"}),
        },
        "data": {
            "digest_sha256": sha256(digest),
            **{key: facts[key] for key in _DATA},
            "leaky": is_leaky(training.split),
            "negatives": len(training.negatives or ()),
            "negatives_sha256": sha256(negatives) if negatives else None,
        },
        "start": start,
        "machine": {**machine.facts(), "devices": devices, "nodes": params.nodes},
    }
    numerics = f"{machine.precision} on {machine.device.type}, {devices * params.nodes} processes"
    with (
        run_folder(
            checkpoints,
            _fingerprint(record),
            numerics=numerics,
            machine=machine.name,
            first=fabric.is_global_zero,
        ) as folder,
        reproducible(machine),
        launched(fabric, devices, params.nodes),
    ):
        record["machine"]["world_size"] = fabric.world_size
        if fabric.is_global_zero and len(folder.machines()) > 1:  # a killed training went on here
            record["machine"]["names"] = folder.machines()
        rows = fit(
            fabric,
            network,
            training=training,
            validation=validation,
            config=params,
            seed=seed,
            folder=folder,
        )
        if not fabric.is_global_zero:
            return
        epoch = best_epoch(rows, params)
        if epoch < len(rows):
            network.load_state_dict(read_state(folder.weights(epoch)))
        shares = branch_shares(network.to(machine.device), validation)
        network.cpu()
        save(network.state_dict(), weights)
        columns = list(schemas.HISTORY.columns)
        table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[1:], float))
        schemas.write(schemas.HISTORY, table, history)
        result = {
            "epoch": epoch,
            "epochs": len(rows),
            "stopped_early": len(rows) < params.epochs,
            "images_per_epoch": per_epoch,
            "class_weights": class_weight and dict(zip(schemas.CLASSES, class_weight, strict=True)),
            "seconds": round(sum(row["seconds"] for row in rows), 1),
            **_sizes(network),
            "gamma": {name: branch.gamma.item() for name, branch in residuals(network).items()},
            "branch_share": shares,
            "backbone_layers_trained": trainable_layers(detector, variant.backbone),
            "norms_frozen": frozen_norm(detector),
        }
        made_by = {"commit": commit(), "versions": versions()}
        write_json(manifest, {**made_by, **record, "result": result})
        folder.clear()


def fit(
    fabric: Fabric,
    network: FasterRCNN,
    *,
    training: SliceDataset,
    validation: SliceDataset,
    config: Train,
    seed: int,
    folder: RunFolder,
) -> list[Row]:
    """Train to the end, from the checkpoint in `folder` if there is one; return the history.

    Several devices share each batch; losses and batch norms are those of the whole batch.

    Afterwards the network, on the CPU, holds the weights of the last epoch, and `folder` those of
    the best if that was an earlier one.
    """
    # Pixels before channels in memory: fastest for convolutions on CPUs and tensor cores.
    network.to(memory_format=torch.channels_last)
    share_norms(network, fabric)
    replace_layers(network)
    precision = fabric.strategy.precision  # with the gradient scaler of float16
    model, optimizer = fabric.setup(network, sgd(network, config, precision.precision))
    state = {"network": model, "optimizer": optimizer, "scaler": precision, "history": []}
    if folder.last.exists():
        fabric.load(folder.last, state)
    history: list[Row] = state["history"]

    for epoch in range(len(history), config.epochs):
        if stalled(history, config):
            break
        start = time.monotonic()
        losses = train_one_epoch(fabric, model, optimizer, training, config, seed=seed, epoch=epoch)
        row = {"epoch": epoch + 1, **losses, **dict.fromkeys(_VALIDATION)}
        last = epoch + 1 == config.epochs
        if fabric.is_global_zero and (last or (epoch + 1) % config.validate_every == 0):
            row |= validate(network, validation)
        row["seconds"] = round(time.monotonic() - start, 3)
        history.append(fabric.broadcast(row))

        # In this order, a kill at any moment costs one epoch at most.
        if not last:
            if fabric.is_global_zero and best_epoch(history, config) == epoch + 1:
                save(network.state_dict(), folder.weights(epoch + 1))
            fabric.save(folder.last, state)
            if fabric.is_global_zero:
                folder.prune(keep=best_epoch(history, config))
    network.cpu()
    return history


def train_one_epoch(
    fabric: Fabric,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    training: SliceDataset,
    config: Train,
    *,
    seed: int,
    epoch: int,
) -> dict[str, float]:
    """Run the epoch's batches once; return the mean losses, their sum and the last learning rate.

    Raises
    ------
    UserError
        If the loss is not finite; the message names the images.
    """
    rank, world = fabric.global_rank, fabric.world_size
    images = epoch_images(image_classes(training), config, seed=seed, epoch=epoch)
    count = len(training.negatives or ())
    each = negatives_per_batch(config) if count else 0
    size = config.batch_size - each
    batches = epoch_batches(images, size, seed=seed, epoch=epoch, devices=world)
    batches = with_negatives(batches, len(training), count, each, seed=seed, epoch=epoch)
    shares = [batch[rank::world] for batch in batches]  # together, all devices see all images
    losses: list[dict[str, float]] = []
    unread: tuple[list[str], dict[str, Tensor]] | None = None
    model.train()
    examples_of = loaded(training, shares, config, fabric.device, seed=seed, epoch=epoch)
    for number, examples in enumerate(examples_of):
        rate = learning_rate(epoch * len(batches) + number, config.epochs * len(batches), config)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        # torchvision samples proposals from torch's global generator.
        torch.manual_seed(torch_seed(Stream.PROPOSALS, seed, epoch, number * world + rank))
        optimizer.zero_grad()
        by_name: dict[str, Tensor] = model(*on_device(examples, fabric.device))
        fabric.backward(torch.stack(list(by_name.values())).sum())
        if config.gradient_clip > 0:
            fabric.clip_gradients(
                model, optimizer, max_norm=config.gradient_clip, error_if_nonfinite=False
            )
        optimizer.step()
        project_gammas(model)

        # Reading a loss waits for the GPU: it is read when the next batch is under way.
        if unread:
            losses.append(_read(*unread, epoch))
        names = [example.image_key for example in examples]
        unread = names, {name: value.detach() for name, value in by_name.items()}
        if fabric.is_global_zero and losses and sys.stdout.isatty():  # no log holds a progress line
            progress = f"epoch {epoch + 1} of {config.epochs}, batch {number + 1} of {len(batches)}"
            end = "\n" if number + 1 == len(batches) else ""
            loss = sum(losses[-1].values())
            print(f"\r{progress}, loss {loss:.3f}   ", end=end, flush=True)
    if unread:
        losses.append(_read(*unread, epoch))
    means = {name: sum(one[name] for one in losses) / len(losses) for name in losses[0]}
    means = {"loss": sum(means.values()), **means}
    return {**means, "learning_rate": rate}


def _read(image_keys: list[str], losses: dict[str, Tensor], epoch: int) -> dict[str, float]:
    """Return the losses of a batch as numbers.

    Raises
    ------
    UserError
        If one is not finite; the message names the images.
    """
    values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
    if not all(map(math.isfinite, values.values())):
        raise UserError(
            f"training epoch {epoch}, images " + ", ".join(image_keys),
            expected="a finite loss",
            came=", ".join(f"{name} {value:.3g}" for name, value in values.items()),
            remedy="look at these images, lower train.learning_rate or set train.gradient_clip",
        )
    return values


def learning_rate(step: int, steps: int, config: Train) -> float:
    """Return the rate of optimiser step `step` (from 0) out of `steps`.

    It rises linearly over ``warmup_steps``, and from there follows ``schedule``: ``constant``;
    ``step``, a tenth after each of `_DROPS`; or ``cosine``, half a wave down to 0 at the end.
    docs/interpretations.md#9

    Examples
    --------
    >>> config = Train(learning_rate=0.01, warmup_steps=4, schedule="cosine")
    >>> [round(learning_rate(step, 12, config), 4) for step in (0, 4, 8)]
    [0.002, 0.01, 0.005]
    """
    warm_up = min(1.0, (step + 1) / (config.warmup_steps + 1))
    decay = 1.0
    if config.schedule == "step":
        decay = 0.1 ** sum(step >= drop * steps for drop in _DROPS)
    if config.schedule == "cosine":
        left = steps - config.warmup_steps
        progress = (step - config.warmup_steps) / left if left > 0 else 0.0
        decay = 0.5 * (1 + math.cos(math.pi * max(0.0, progress)))
    return float(config.learning_rate * warm_up * decay)


def sgd(network: nn.Module, config: Train, precision: str) -> torch.optim.SGD:
    """Return the optimiser; gamma has its own rate, and no weight decay.

    docs/interpretations.md#5
    """
    scales = {id(residual.gamma) for residual in residuals(network).values()}
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    # Groups in the order of the network's weights: the norm of all gradients is summed in it.
    groups = [
        {
            "params": list(weights),
            "rate": config.gamma_rate if is_gamma else 1.0,
            "weight_decay": 0.0 if is_gamma else config.weight_decay,
        }
        for is_gamma, weights in groupby(trained, key=lambda weight: id(weight) in scales)
    ]
    return torch.optim.SGD(
        groups,
        lr=config.learning_rate,
        momentum=config.momentum,
        fused=precision != "16-mixed",  # a gradient scaler cannot clip for a fused optimiser
    )


def validate(network: FasterRCNN, dataset: SliceDataset) -> dict[str, float]:
    """Return AP50 on `dataset`, the mean over the three classes and that of the box alone.

    docs/interpretations.md#10
    """
    seen = scene(predict(network, dataset), dataset.boxes, dataset.split)
    values = ap50(seen, np.ones((1, len(seen.patient_keys))))
    return {column: float(values[name][0]) for column, name in _VALIDATION.items()}


def best_epoch(history: Sequence[Row], config: Train) -> int:
    """Return the epoch that counts so far, from 1; 0 if none was validated.

    The one of highest three-class AP50; of equals the later, which has seen more
    (docs/interpretations.md#10).
    """
    if config.keep == "last":
        return len(history)
    validated = [row for row in history if row["validation_map"] is not None]
    best = max(validated, key=lambda row: (row["validation_map"], row["epoch"]), default=None)
    return int(best["epoch"]) if best else 0


def stalled(history: Sequence[Row], config: Train) -> bool:
    """Return whether the last epoch is `patience_epochs` after the last that was better than all.

    An epoch that equals the best is not better, and one that was not validated decides nothing.
    """
    if not config.patience_epochs or not history or history[-1]["validation_map"] is None:
        return False
    validated = [row for row in history if row["validation_map"] is not None]
    better = max(validated, key=lambda row: (row["validation_map"], -row["epoch"]))
    return int(history[-1]["epoch"] - better["epoch"]) >= config.patience_epochs


def _fingerprint(record: dict[str, Any]) -> str:
    """Return the SHA-256 of all settings, data and versions on which the weights depend.

    Not of the machine: on another one of the same kind, a training that was killed goes on.
    """
    of_any_machine = {name: value for name, value in record.items() if name != "machine"}
    everything = {"format": _CHECKPOINT_FORMAT, "torch": torch.__version__, **of_any_machine}
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def _sizes(network: nn.Module) -> dict[str, int]:
    """Return how many weights the network has, and how many of them are trained or attention's."""
    every = list(network.named_parameters())
    return {
        "parameters": sum(weight.numel() for _, weight in every),
        "parameters_trained": sum(weight.numel() for _, weight in every if weight.requires_grad),
        "parameters_attention": sum(
            weight.numel() for name, weight in every if ATTENTION_PREFIX in name
        ),
    }


if __name__ == "__main__":
    run(train)
