"""What a detector starts from: a published checkpoint, a file, or nothing.

docs/interpretations.md#7
"""

import pickle
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from dsnet.config.detector import Backbone, Detector
from dsnet.detect.backbone import (
    ATTENTION_PREFIX,
    PUBLISHED,
    STAGES_PREFIX,
    has_pyramid,
    published_weights,
    start_weights,
)
from dsnet.errors import UserError
from dsnet.files import sha256

_COUNTER = "num_batches_tracked"  # of batch norm: no weight, and not in older checkpoints

Counts = Mapping[str, int]
"""How many tensors there are, by the component of the detector to which they belong."""


@dataclass(frozen=True)
class Start:
    """Where the first weights came from.

    Attributes
    ----------
    source : str
        ``none``, ``imagenet``, ``coco`` or ``file``.
    sha256 : str
        Of the checkpoint's bytes; "" for ``none``.
    loaded : Counts
        Tensors of the detector that came from it.
    skipped : mapping of Counts
        Tensors of it that stayed out, by the reason: ``name``, the detector has none of that name;
        ``shape``, it has one of another shape; ``heads``, they belong to other maps.
    new : Counts
        Tensors of the detector that did not come from it; for ``none`` that is all of them.
    """

    source: str
    sha256: str
    loaded: Counts
    skipped: Mapping[str, Counts]
    new: Counts


def load_start(network: nn.Module, config: Detector, backbone: Backbone) -> Start:
    """Load into `network` what `config.weights` names.

    Tensors go by name and shape. With attention that starts as the identity, the detector then has
    exactly the outputs of the pretrained one, except for the layers reported as new. Of a
    checkpoint whose maps are not the detector's, only the backbone is taken: the same layers after
    other maps would have the same names and shapes, and mean nothing.

    Raises
    ------
    UserError
        If the checkpoint cannot be had, is not what it should be, or fits nowhere.
    """
    source = start_weights(config, backbone)
    if source == "none":
        return _load(network, {}, "none", "")
    if source not in PUBLISHED:
        path = Path(source)
        digest = _digest(path, config.weights_sha256 or "")
        return _load(network, read_state(path), "file", digest)
    published = published_weights(backbone, source)
    path = _cached(source, published.weights)
    # A published file carries the first digits of its SHA-256 at the end of its name.
    digest = _digest(path, path.stem.rpartition("-")[2])
    state = read_state(path)
    if published.whole and has_pyramid(config, backbone):
        return _load(network, state, source, digest)
    stages = {
        STAGES_PREFIX + name.removeprefix(published.prefix): tensor
        for name, tensor in state.items()
        if name.startswith(published.prefix)
    }
    heads = [name for name in state if not name.startswith(published.prefix)]
    return _load(network, stages, source, digest, heads)


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


def _load(
    network: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    digest: str,
    heads: Iterable[str] = (),
) -> Start:
    own = _weights(network.state_dict())
    given = _weights({_current_name(name): tensor for name, tensor in state.items()})
    named = given.keys() & own.keys()
    fits = {name: given[name] for name in named if given[name].shape == own[name].shape}
    if state and not fits:
        raise UserError(
            "config detector.weights",
            expected="the weights of a detector with this backbone",
            came=f"{len(state)} tensors, none with a name and shape of this detector",
            remedy="name a state dict of a whole detector",
        )
    network.load_state_dict(fits, strict=False)
    skipped = {"name": given.keys() - named, "shape": named - fits.keys(), "heads": heads}
    return Start(
        source,
        digest,
        loaded=_counts(fits),
        skipped={why: _counts(names) for why, names in skipped.items()},
        new=_counts(own.keys() - fits.keys()),
    )


def _current_name(name: str) -> str:
    """Return what torchvision now calls a tensor of a detector published before 2022."""
    name = re.sub(r"(fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2", name)
    return re.sub(r"^(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2", name)


def _cached(name: str, weights: WeightsEnum) -> Path:
    """Return the file of torchvision's checkpoint, downloaded if it is not there yet."""
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


def _digest(path: Path, expected: str) -> str:
    """Return the file's SHA-256, which must begin with the digits `expected`."""
    if not path.is_file():
        remedy = "correct the path, or name one of none, paper, imagenet and coco"
        raise _not_weights(path, "no file", remedy)
    digest = sha256(path)
    if not digest.startswith(expected):
        raise _not_weights(path, f"one of SHA-256 {digest}", "replace it by the file meant")
    return digest


def _weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.endswith(_COUNTER)}


def _counts(names: Iterable[str]) -> dict[str, int]:
    """Return how many tensors each component has; attention counts apart from its backbone."""
    return dict(sorted(Counter(_component(name.split(".")) for name in names).items()))


def _component(name: list[str]) -> str:
    depth = 3 if len(name) > 2 and name[2].startswith(ATTENTION_PREFIX) else 2
    return ".".join(name[:depth])


def _not_weights(path: Path, came: str, remedy: str) -> UserError:
    return UserError(path.name, expected="a state dict of weights", came=came, remedy=remedy)
