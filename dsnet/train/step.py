"""The training step: the slice store and a split in, one detector's weights out."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dsnet import contract
from dsnet.config import Detector, Train, Variant
from dsnet.detect.attention.residual import gammas
from dsnet.detect.backbone import ATTENDED
from dsnet.detect.device import reproducible, this_machine
from dsnet.detect.model import build, frozen_norm, trainable_layers
from dsnet.detect.part import Part
from dsnet.detect.weights import load_start, read_state
from dsnet.files import sha256, write_json
from dsnet.train.fit import fit
from dsnet.train.folder import run_folder, save
from dsnet.train.keeper import Keeper
from dsnet.train.manifest import describe
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
        The slice store, `contract.SLICES` and `contract.SPLIT`.
    weights : Path
        Written: the state dict of the epoch that counts (reading 10).
    history : Path
        Written: losses, validation and seconds of each epoch.
    manifest : Path
        Written: where the weights come from, as JSON.
    checkpoints : Path
        A folder of this detector alone, from which a killed training goes on. Emptied at the end.

    Raises
    ------
    UserError
        If the start weights cannot be had, the loss is not finite, or the same training runs.
    """
    facts = json.loads(digest.read_text(encoding="utf-8"))
    data = {"digest_sha256": sha256(digest), **{key: facts[key] for key in _DATA}}
    settings = {
        "variant": variant.model_dump(),
        "seed": seed,
        "detector": detector.model_dump(),
        "train": params.model_dump(exclude={"seeds"}),
    }
    machine = this_machine(params.precision)
    training, validation = (
        Part(name, store=store, boxes=boxes, split=split, windows=detector.windows)
        for name in ("train", "validation")
    )
    size_px, pixel_mm = facts["size_px"], facts["pixel_mm"]
    network = build(detector, variant, size_px=size_px, pixel_mm=pixel_mm, seed=seed)
    start = load_start(network, detector, variant.backbone).facts()
    follows = _fingerprint(settings, data, start, machine.facts(), torch.__version__)
    with run_folder(checkpoints, follows) as folder, reproducible(machine):
        trainee = Trainee(network, training, params, seed=seed, fused=machine.fused)
        keeper = Keeper(folder, validation)
        fit(trainee, keeper, folder, machine)
        epoch = keeper.chosen(params)
        if epoch < params.epochs:
            network.load_state_dict(read_state(folder.weights(epoch)))
        seconds = round(sum(row["seconds"] for row in keeper.history), 1)
        result = {"epoch": epoch, "seconds": seconds, **_facts(network, detector, variant)}
        told = describe(settings, data=data, start=start, machine=machine.facts(), result=result)
        save(network.state_dict(), weights)
        contract.write(contract.HISTORY, keeper.table(), history)
        write_json(manifest, told)
        folder.clear()


def _facts(network: nn.Module, detector: Detector, variant: Variant) -> dict[str, Any]:
    """Return what the trained network is: its size, what of it trained, each gamma."""
    every = list(network.named_parameters())
    return {
        "parameters": sum(weight.numel() for _, weight in every),
        "parameters_trained": sum(weight.numel() for _, weight in every if weight.requires_grad),
        "parameters_attention": sum(weight.numel() for name, weight in every if ATTENDED in name),
        "backbone_layers_trained": trainable_layers(detector, variant.backbone),
        "norms_frozen": frozen_norm(detector),
        "gamma": {name: gamma.item() for name, gamma in gammas(network).items()},
    }


def _fingerprint(*all_that_counts: Any) -> str:
    """Return the SHA-256 of everything that the weights follow from."""
    text = json.dumps(all_that_counts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
