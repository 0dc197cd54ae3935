"""The folder of one running training: its lock, its checkpoint, and whose checkpoint that is."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from dsnet.errors import UserError
from dsnet.files import write_text

_BUSY = "busy"
_SETTINGS = "settings.sha256"
_WAIT_S = 300.0  # for the first process of a training, which may sum a large checkpoint
_POLL_S = 0.1


@dataclass(frozen=True)
class RunFolder:
    """A folder that one training alone writes to; never an output of the workflow."""

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

    def drop_requeued(self) -> None:
        """Remove what Lightning saved within an epoch when SLURM requeued the job."""
        for path in self.path.glob("hpc_ckpt_*"):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove everything that a later training could take for its own."""
        self.last.unlink(missing_ok=True)
        self.prune()
        self.drop_requeued()
        (self.path / _SETTINGS).unlink(missing_ok=True)


@contextmanager
def run_folder(path: Path, settings: str, *, first: bool = True) -> Iterator[RunFolder]:
    """Lock the folder `path`; drop what a training of other settings left in it.

    Parameters
    ----------
    path : Path
        Made if need be. Several nodes must see the same folder.
    settings : str
        SHA-256 of all that the result follows from; a checkpoint of another is not resumed.
    first : bool
        Whether this is the first process of the training; the others wait for it.

    Raises
    ------
    UserError
        If another training holds the lock, or the first process does not come. A process that died
        holds no lock.
    """
    if not first:
        yield _joined(path, settings)
        return
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


def _joined(path: Path, settings: str) -> RunFolder:
    """Return the folder once the first process of the same training has made it ready."""
    known, end = path / _SETTINGS, time.monotonic() + _WAIT_S
    while not known.exists() or known.read_text().strip() != settings:
        if time.monotonic() > end:
            raise UserError(
                f"training into {path}",
                expected="that the first process of the training makes the folder ready",
                came=f"none with the same config, versions and kind of device in {_WAIT_S:.0f} s",
                remedy="look at its log, and give all nodes the same folder and machine",
            )
        time.sleep(_POLL_S)
    return RunFolder(path)
