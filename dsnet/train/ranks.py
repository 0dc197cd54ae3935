"""How many processes train one detector, and whether they can."""

from dataclasses import dataclass
from typing import Any

import torch

from dsnet.config.detector import Train
from dsnet.detect.device import Machine
from dsnet.errors import UserError
from dsnet.train.data import PER_DEVICE


@dataclass(frozen=True)
class Ranks:
    """One process for each device.

    Attributes
    ----------
    devices : int
        Of each node: GPUs, or processes on its CPU.
    nodes : int
    """

    devices: int
    nodes: int

    @property
    def world(self) -> int:
        """How many processes there are."""
        return self.devices * self.nodes

    def facts(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return {"devices": self.devices, "nodes": self.nodes}


def ranks(config: Train, machine: Machine, images: int) -> Ranks:
    """Return the processes that `config` asks for, here and on the other nodes.

    Parameters
    ----------
    config : Train
    machine : Machine
    images : int
        That an epoch shows.

    Raises
    ------
    UserError
        If there are fewer GPUs, or too few images for so many.
    """
    gpus = torch.cuda.device_count() if machine.device.type == "cuda" else None
    devices = (gpus or 1) if config.devices == "auto" else config.devices
    if gpus is not None and devices > gpus:
        raise UserError(
            "config train.devices",
            expected=f"at most the {gpus} GPUs that this node has",
            came=f"{devices}",
            remedy="set it to auto, or to a smaller number",
        )
    wanted = Ranks(devices, config.nodes)
    if min(config.batch_size, images) < PER_DEVICE * wanted.world:
        raise UserError(
            f"training on {wanted.world} devices",
            expected=f"batches of at least {PER_DEVICE} images for each",
            came=f"train.batch_size {config.batch_size} and {images} images",
            remedy="raise train.batch_size, or set train.devices and train.nodes lower",
        )
    return wanted
