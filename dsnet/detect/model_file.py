"""A trained detector in one file of its own, and as a function from HU to boxes.

The file is a torch archive of two plain values: the facts as JSON text, and the state dict. It is
loaded with ``weights_only=True``, so that nothing in it is executed, and it holds the SHA-256 of
both.
"""

import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from dsnet.config.detector import Window
from dsnet.detect.dataset import apply_windows
from dsnet.detect.device import device
from dsnet.detect.inference import detect, freeze
from dsnet.errors import UserError
from dsnet.files import whole

FORMAT = "dsnet model"
FORMAT_VERSION = 2
"""Raised when an older program could no longer read a file, or read it wrongly."""

Arrays = dict[str, NDArray[Any]]


def write_model(path: Path, facts: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """Write a model file, and return the SHA-256 that it holds.

    Parameters
    ----------
    path : Path
    facts : mapping
        JSON values.
    state : mapping of str to Tensor
        The state dict of the whole detector.
    """
    text = json.dumps(dict(facts), allow_nan=False)
    digest = content_sha256(text, state)
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "facts": text,
        "weights": dict(state),
        "sha256": digest,
    }
    with whole(path) as temporary, temporary.open("wb") as stream:
        torch.save(content, stream)
    return digest


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """Return the facts, the state dict and the SHA-256 of a model file.

    Raises
    ------
    UserError
        If it is no model file, one of another format version, or does not hold what was written.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise refused(path, "no file", "correct the path") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise refused(path, "something else, or a file cut short", "copy it again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise refused(path, "another file of torch", "name a file that dsnet export wrote")
    if content.get("version") != FORMAT_VERSION:
        remedy = "use the version of dsnet that wrote it, or export the training again"
        raise refused(path, f"format version {content.get('version')}", remedy)
    facts, weights = content["facts"], content["weights"]
    if content_sha256(facts, weights) != content["sha256"]:
        raise refused(path, "content that does not fit its SHA-256", "copy it again")
    return json.loads(facts), weights, content["sha256"]


def content_sha256(facts: str, state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the facts and of each tensor's name, type, shape and values."""
    digest = hashlib.sha256(facts.encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def refused(path: Path, came: str, remedy: str) -> UserError:
    """Return the error of a model file that is not used; its name alone is printed."""
    expected = f"a model file of dsnet, format version {FORMAT_VERSION}"
    return UserError(path.name, expected=expected, came=came, remedy=remedy)


class TorchDetector:
    """A trained network as a function from HU to detections, on the GPU if there is one.

    Parameters
    ----------
    network : FasterRCNN
        With its trained weights; it is frozen, and cannot be trained further.
    windows : sequence of Window
        As in training.
    """

    def __init__(self, network: FasterRCNN, windows: Sequence[Window]) -> None:
        self._network = freeze(network.to(device()))
        self._windows = tuple(windows)

    def __call__(self, hu: NDArray[np.int16]) -> list[Arrays]:
        """Return the detections on each image.

        Parameters
        ----------
        hu : int16 (images, size_px, size_px)
            On the grid of the training.

        Returns
        -------
        list of dict
            ``boxes`` float32 (detections, 4), edges in pixels of the grid; ``labels`` int64, from
            1; ``scores`` float32; ``probabilities`` float32 (detections, 4), the background first.
        """
        detections = detect(self._network, [apply_windows(one, self._windows) for one in hu])
        return [{name: values.numpy() for name, values in one.items()} for one in detections]
