"""The folder of one running training: its lock, its checkpoint, and whose checkpoint that is."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from lightning.pytorch.plugins.io import TorchCheckpointIO

from dsnet.errors import UserError
from dsnet.files import whole, write_text

_BUSY = "busy"
_SETTINGS = "settings.sha256"


@dataclass(frozen=True)
class RunFolder:
    """A folder that this process alone writes to; never an output of the workflow."""

    path: Path

    @property
    def last(self) -> Path:
        """The checkpoint from which training goes on."""
        return self.path / "last.ckpt"

    def weights(self, epoch: int) -> Path:
        """Return where the weights after `epoch` lie while they are the best."""
        return self.path / f"weights-{epoch}.pt"

    def prune(self, keep: int | None = None) -> None:
        """Remove the weights of all epochs but `keep`."""
        for path in self.path.glob("weights-*.pt"):
            if keep is None or path != self.weights(keep):
                path.unlink()

    def clear(self) -> None:
        """Remove everything that a later training could take for its own."""
        self.last.unlink(missing_ok=True)
        self.prune()
        (self.path / _SETTINGS).unlink(missing_ok=True)


@contextmanager
def run_folder(path: Path, settings: str) -> Iterator[RunFolder]:
    """Lock the folder `path`; drop what a training of other settings left in it.

    Parameters
    ----------
    path : Path
        Made if need be.
    settings : str
        SHA-256 of all that the result follows from; a checkpoint of another is not resumed.

    Raises
    ------
    UserError
        If another process holds the lock. A process that died holds none.
    """
    path.mkdir(parents=True, exist_ok=True)
    lock, owner, known = FileLock(path / _BUSY), path / "process", path / _SETTINGS
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        process = owner.read_text() if owner.exists() else "another process"
        raise UserError(
            f"training into {path}",
            expected="no other training of the same detector",
            came=f"one that is running ({process.strip()})",
            remedy="wait for its end, or stop that process",
        ) from error
    try:
        write_text(owner, f"process {os.getpid()}\n")
        folder = RunFolder(path)
        if not known.exists() or known.read_text().strip() != settings:
            folder.clear()
            write_text(known, settings + "\n")
        yield folder
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


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
