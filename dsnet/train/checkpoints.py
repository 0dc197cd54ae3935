"""The folder of one running training: its lock, its checkpoint, and to which training that belongs.

Files are whole or absent, and hold no code.
"""

import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from lightning_fabric.plugins.io import TorchCheckpointIO

from dsnet.errors import UserError
from dsnet.files import whole, write_text

_LOCK = "busy"
_OWNER = "process"
_FINGERPRINT = "settings.sha256"
_WAIT_S = 300.0  # for the first process of a training, which may compute a large file's SHA-256
_POLL_S = 0.1


@dataclass(frozen=True)
class RunFolder:
    """A folder that only one training writes to; never an output of the workflow."""

    path: Path

    @property
    def last(self) -> Path:
        """The checkpoint from which training is resumed."""
        return self.path / "last.ckpt"

    def weights(self, epoch: int) -> Path:
        """Return the path of the weights after `epoch`, which exists while they are the best."""
        return self.path / f"weights-{epoch}.pt"

    def prune(self, keep: int | None = None) -> None:
        """Remove the weights of all epochs except `keep`."""
        for path in self.path.glob("weights-*.pt"):
            if keep is None or path != self.weights(keep):
                path.unlink()

    def clear(self) -> None:
        """Remove everything that a later training could take for its own."""
        self.last.unlink(missing_ok=True)
        self.prune()
        (self.path / _FINGERPRINT).unlink(missing_ok=True)


@contextmanager
def run_folder(path: Path, fingerprint: str, *, first: bool = True) -> Iterator[RunFolder]:
    """Lock the folder `path`; drop what a training of another fingerprint left in it.

    Parameters
    ----------
    path : Path
        Created if it does not exist. Several nodes must see the same folder.
    fingerprint : str
        SHA-256 of everything on which the result depends; only a checkpoint of the same is resumed.
    first : bool
        Whether this is the first process of the training; the others wait for it.

    Raises
    ------
    UserError
        If another training holds the lock, or the first process does not come. A process that died
        holds no lock.
    """
    if not first:
        yield _joined(path, fingerprint)
        return
    path.mkdir(parents=True, exist_ok=True)
    lock, owner, recorded = FileLock(path / _LOCK), path / _OWNER, path / _FINGERPRINT
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
        write_text(owner, f"process {os.getpid()} on {platform.node() or 'this machine'}\n")
        folder = RunFolder(path)
        if not recorded.exists() or recorded.read_text().strip() != fingerprint:
            folder.clear()
            write_text(recorded, fingerprint + "\n")
        yield folder
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _joined(path: Path, fingerprint: str) -> RunFolder:
    """Return the folder as soon as the first process of the same training has prepared it."""
    recorded, end = path / _FINGERPRINT, time.monotonic() + _WAIT_S
    while not recorded.exists() or recorded.read_text().strip() != fingerprint:
        if time.monotonic() > end:
            raise UserError(
                f"training into {path}",
                expected="that the first process of the training prepares the folder",
                came=f"none with the same config, versions and kind of device in {_WAIT_S:.0f} s",
                remedy="look at its log, and give all nodes the same folder and machine",
            )
        time.sleep(_POLL_S)
    return RunFolder(path)


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints of Lightning that are whole or absent."""

    def save_checkpoint(
        self, checkpoint: Mapping[str, Any], path: str | Path, *_args: Any, **_kwargs: Any
    ) -> None:
        """Write `checkpoint` as `save` does."""
        save(checkpoint, Path(path))

    def load_checkpoint(self, path: str | Path, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
        """Return the checkpoint, on the CPU; nothing in it is executed."""
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint


def save(value: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values so that `torch.load` reads them with ``weights_only``."""
    with whole(path) as temporary:
        torch.save(dict(value), temporary)
