"""Checkpoints and weights as files: whole or absent, and without code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from dsnet.files import whole


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are whole or absent."""

    def save_checkpoint(
        self, checkpoint: Mapping[str, Any], path: str | Path, *_args: Any, **_kwargs: Any
    ) -> None:
        """Write `checkpoint` under a temporary name and rename it."""
        save(checkpoint, Path(path))

    def load_checkpoint(self, path: str | Path, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
        """Return the checkpoint, on the CPU; nothing in it is executed."""
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint


def save(value: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values so that `torch.load` reads them with ``weights_only``."""
    with whole(path) as temporary:
        torch.save(dict(value), temporary)
