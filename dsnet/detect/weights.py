"""What a detector starts from: a published checkpoint, a file, or nothing (reading 7)."""

import pickle
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dsnet.config import Backbone, Detector
from dsnet.detect.backbone import BACKBONE
from dsnet.errors import UserError
from dsnet.files import sha256

_BODY = "backbone.body."


@dataclass(frozen=True)
class Start:
    """Where the first weights came from.

    Attributes
    ----------
    source : str
        ``none``, ``imagenet``, ``coco`` or ``file``.
    sha256 : str
        Of the checkpoint's bytes; "" for ``none``.
    loaded : int
        How many tensors came from it.
    skipped : tuple of str
        Modules of the checkpoint that do not fit the detector.
    new : tuple of str
        Modules of the detector that are not in the checkpoint; for ``none`` that is all of them.
    """

    source: str
    sha256: str
    loaded: int
    skipped: tuple[str, ...]
    new: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return asdict(self)


def load_start(network: nn.Module, config: Detector, backbone: Backbone) -> Start:
    """Load into `network` what `config.weights` names.

    Tensors go by name and shape. With attention that starts as the identity, the detector then has
    exactly the outputs of the pretrained one, but for the layers told as new.

    Raises
    ------
    UserError
        If the checkpoint cannot be had, is not what it should be, or fits nowhere.
    """
    if config.weights == "none":
        return Start("none", "", 0, (), _modules(network.state_dict()))
    published = config.weights in ("coco", "imagenet")
    path = _published(config.weights, backbone) if published else Path(config.weights)
    digest = _digest(path, config)
    state = read_state(path)
    if config.weights == "imagenet":
        state = {_BODY + name: tensor for name, tensor in state.items()}
    return _load(network, state, config.weights if published else "file", digest)


def load_trained(network: nn.Module, path: Path) -> None:
    """Load into `network` the weights that training it left at `path`.

    Raises
    ------
    UserError
        If they are not of this detector, tensor for tensor.
    """
    try:
        network.load_state_dict(read_state(path))
    except RuntimeError as error:
        remedy = "train it again with this config, or go back to the config of the training"
        raise _not_weights(path, "those of another detector", remedy) from error


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a state dict by name; nothing in the file is executed.

    Raises
    ------
    UserError
        If there is no such file, or it holds anything but tensors.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise _not_weights(path, "no file", "correct the path") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        came = "something else, or a file cut short"
        raise _not_weights(path, came, "copy it again") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        remedy = "save network.state_dict() alone"
        raise _not_weights(path, "other things beside tensors", remedy)
    return state


def _load(network: nn.Module, state: Mapping[str, Tensor], source: str, digest: str) -> Start:
    own = network.state_dict()
    fits = {
        name: tensor
        for name, tensor in state.items()
        if name not in own or own[name].shape == tensor.shape
    }
    # Names are compared by the modules themselves: some know older names of their tensors.
    missing, unexpected = network.load_state_dict(fits, strict=False)
    loaded = len(fits) - len(unexpected)
    if loaded == 0:
        raise UserError(
            "config detector.weights",
            expected="the weights of a detector with this backbone",
            came=f"{len(state)} tensors, none with a name and shape of this detector",
            remedy="name a state dict of a whole detector",
        )
    skipped = [*unexpected, *(name for name in state if name not in fits)]
    return Start(source, digest, loaded, _modules(skipped), _modules(missing))


def _published(name: str, backbone: Backbone) -> Path:
    """Return the file of torchvision's checkpoint, downloaded if it is not there yet."""
    weights = BACKBONE[backbone].published[name]
    path = Path(torch.hub.get_dir(), "checkpoints", weights.url.rpartition("/")[2])
    if path.is_file():
        return path
    try:
        weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"config detector.weights = {name}",
            expected=f"the file {path}, or a network to fetch it",
            came="neither",
            remedy=f"fetch {weights.url} elsewhere and put it there",
        ) from error
    return path


def _digest(path: Path, config: Detector) -> str:
    """Return the file's SHA-256, checked against what is known of it.

    A published file carries the first digits of its SHA-256 at the end of its name.
    """
    if not path.is_file():
        raise _not_weights(path, "no file", "correct the path")
    digest = sha256(path)
    known = config.weights_sha256 or ""
    if config.weights in ("coco", "imagenet"):
        known = path.stem.rpartition("-")[2]
    if not digest.startswith(known):
        raise _not_weights(path, f"one of SHA-256 {digest}", "replace it by the file meant")
    return digest


def _modules(names: Any) -> tuple[str, ...]:
    """Return the modules to which tensors belong, by the first parts of their names, sorted."""
    return tuple(sorted({".".join(name.split(".")[:3]) for name in names}))


def _not_weights(path: Path, came: str, remedy: str) -> UserError:
    return UserError(path.name, expected="a state dict of weights", came=came, remedy=remedy)
