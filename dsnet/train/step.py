"""The training step: the slice store and a split in, one detector's weights out."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dsnet import schemas
from dsnet.config.detector import Detector, Train, Variant
from dsnet.detect.attention import gammas
from dsnet.detect.backbone import ATTENTION_PREFIX
from dsnet.detect.dataset import SliceDataset
from dsnet.detect.device import reproducible, this_machine
from dsnet.detect.heads import class_loss
from dsnet.detect.model import build, frozen_norm, trainable_layers
from dsnet.detect.weights import load_start, read_state
from dsnet.files import sha256, write_json
from dsnet.schemas import is_leaky
from dsnet.train.checkpoints import RunFolder, run_folder, save
from dsnet.train.data import class_weights
from dsnet.train.fit import fit, trainer
from dsnet.train.keeper import Keeper
from dsnet.train.manifest import describe
from dsnet.train.ranks import ranks
from dsnet.train.trainee import Trainee

_DATA = ("cohort", "synthetic", "size_px", "pixel_mm")


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
) -> None:
    """Train one detector; the test part is never looked at.

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
        A folder of this detector alone, from which a killed training goes on. Emptied at the end.
        Training on several nodes, all must see it.

    Raises
    ------
    UserError
        If the start weights cannot be had, the loss is not finite, the same training runs, or
        there are not the devices that `params` asks for.
    """
    facts = json.loads(digest.read_text(encoding="utf-8"))
    settings = {
        "variant": variant.model_dump(),
        "seed": seed,
        "detector": detector.model_dump(),
        "train": params.model_dump(exclude={"seeds"}),
    }
    training, validation = (
        SliceDataset(name, store=store, boxes=boxes, split=split, windows=detector.windows)
        for name in ("train", "validation")
    )
    data = {"digest_sha256": sha256(digest), **_about(facts, training)}
    size_px, pixel_mm = facts["size_px"], facts["pixel_mm"]
    network = build(detector, variant, size_px=size_px, pixel_mm=pixel_mm, seed=seed)
    network.roi_heads.class_loss = class_loss(detector, class_weights(training, params))
    start = asdict(load_start(network, detector, variant.backbone))
    machine = this_machine(params.precision)
    trainee = Trainee(network, training, params, seed=seed, fused=machine.fused)
    keeper = Keeper(RunFolder(checkpoints), validation)
    processes = ranks(params, machine, len(trainee.epoch_images(0)))
    running = trainer(params, keeper, processes, machine)
    # Lightning's word on the precision: asked for float16 on a CPU, it takes bfloat16.
    computed = machine.facts() | processes.facts() | {"precision": running.precision}
    follows = _fingerprint(settings, data, start, computed, torch.__version__)
    first = running.is_global_zero
    with run_folder(checkpoints, follows, first=first) as folder, reproducible(machine):
        fit(running, trainee, folder)
        if not first:
            return
        result = _choose(keeper, trainee) | _facts(network, detector, variant)
        told = describe(settings, data=data, start=start, machine=computed, result=result)
        save(network.state_dict(), weights)
        schemas.write(schemas.HISTORY, keeper.table(), history)
        write_json(manifest, told)
        folder.clear()


def _about(facts: dict[str, Any], training: SliceDataset) -> dict[str, Any]:
    """Return what the manifest says of the data."""
    return {**{key: facts[key] for key in _DATA}, "leaky": is_leaky(training.split)}


def _choose(keeper: Keeper, trainee: Trainee) -> dict[str, Any]:
    """Load the weights of the epoch that counts, and return how it came to them."""
    config, epochs = trainee.config, len(keeper.history)
    epoch = keeper.chosen(config)
    if epoch < epochs:
        trainee.network.load_state_dict(read_state(keeper.folder.weights(epoch)))
    weights = class_weights(trainee.part, config)
    return {
        "epoch": epoch,
        "epochs": epochs,
        "stopped_early": epochs < config.epochs,
        "images_per_epoch": len(trainee.epoch_images(0)),
        "class_weights": dict(zip(schemas.CLASSES, weights, strict=True)) if weights else None,
        "seconds": round(sum(row["seconds"] for row in keeper.history), 1),
    }


def _facts(network: nn.Module, detector: Detector, variant: Variant) -> dict[str, Any]:
    """Return what the trained network is: its size, what of it trained, each gamma."""
    every = list(network.named_parameters())
    return {
        "parameters": sum(weight.numel() for _, weight in every),
        "parameters_trained": sum(weight.numel() for _, weight in every if weight.requires_grad),
        "parameters_attention": sum(
            weight.numel() for name, weight in every if ATTENTION_PREFIX in name
        ),
        "backbone_layers_trained": trainable_layers(detector, variant.backbone),
        "norms_frozen": frozen_norm(detector),
        "gamma": {name: gamma.item() for name, gamma in gammas(network).items()},
    }


def _fingerprint(*all_that_counts: Any) -> str:
    """Return the SHA-256 of everything that the weights follow from."""
    text = json.dumps(all_that_counts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
