"""The folder of one running training: its lock, its checkpoint, and to which training that belongs.

Files are whole or absent, and hold no code. The folder may lie on a file system that several nodes
share, with or without locks of its own.
"""

import errno
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout
from lightning_fabric.plugins.io import TorchCheckpointIO

from dsnet.errors import UserError
from dsnet.files import whole, write_text

_LOCK = "busy"
_LEASE = "lease"  # in place of the lock where the file system has none
_OWNER = "process"
_FINGERPRINT = "settings.sha256"
_NUMERICS = "numerics"
_MACHINES = "machines"
_LEASE_S = 60.0  # a node that has not renewed its lease for so long is dead
_LOCK_WAIT_S = 120.0  # a node that died keeps its lease, or its lock on an NFS server, for less
_WAIT_S = 300.0  # for the first process of a training, which may compute a large file's SHA-256
_POLL_S = 0.1
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}


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

    def machines(self) -> list[str]:
        """Return the machines on which the training ran so far, in their order."""
        return (self.path / _MACHINES).read_text().splitlines()

    def clear(self) -> None:
        """Remove everything that a later training could take for its own."""
        self.last.unlink(missing_ok=True)
        self.prune()
        for name in (_FINGERPRINT, _NUMERICS, _MACHINES):
            (self.path / name).unlink(missing_ok=True)


@contextmanager
def run_folder(
    path: Path, fingerprint: str, *, numerics: str = "", machine: str = "", first: bool = True
) -> Iterator[RunFolder]:
    """Lock the folder `path`; drop what a training of another fingerprint left in it.

    Parameters
    ----------
    path : Path
        Created if it does not exist. Several nodes must see the same folder.
    fingerprint : str
        SHA-256 of all settings and data on which the result depends; only a checkpoint of the same
        is resumed.
    numerics : str
        Kind of device, precision and number of processes. They may differ from one node to the
        next under the same settings; a checkpoint is kept, but resumed under the same only.
    machine : str
        The name of this node's device, for `RunFolder.machines`.
    first : bool
        Whether this is the first process of the training; the others wait for it.

    Raises
    ------
    UserError
        If another training holds the lock, the checkpoint has other numerics, or the first process
        does not come. A process or a node that died holds no lock.
    """
    if not first:
        yield _joined(path, fingerprint)
        return
    path.mkdir(parents=True, exist_ok=True)
    owner, recorded = path / _OWNER, path / _FINGERPRINT
    lock = _locked(path, owner)
    try:
        write_text(owner, f"process {os.getpid()} on {_this_host()}\n")
        folder = RunFolder(path)
        if not recorded.exists() or recorded.read_text().strip() != fingerprint:
            folder.clear()
        elif folder.last.exists():
            _check_numerics(path, numerics)
        write_text(path / _NUMERICS, numerics)
        earlier = folder.machines() if (path / _MACHINES).exists() else []
        write_text(path / _MACHINES, "\n".join(dict.fromkeys([*earlier, machine])))
        write_text(recorded, fingerprint + "\n")  # last: the other processes wait for it
        yield folder
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _this_host() -> str:
    return platform.node() or "this machine"


def _locked(path: Path, owner: Path) -> BaseFileLock:
    """Return the lock of the folder `path`, held.

    The system frees the lock of a process that died. Where the file system has none, a lease that a
    thread renews takes its place. A holder on another node may have died with it: it is waited for
    as long as a dead one's lock or lease lives.
    """
    try:
        return _acquired(FileLock(path / _LOCK, fallback_to_soft=False), path, owner)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise

    def end(_: object) -> None:  # in order: another node took the lease, not renewed in time
        os.kill(os.getpid(), signal.SIGTERM)

    lease = SoftFileLease(path / _LEASE, lease_duration=_LEASE_S, on_compromise=end)
    return _acquired(lease, path, owner)


def _acquired(lock: BaseFileLock, path: Path, owner: Path) -> BaseFileLock:
    """Return `lock`, held."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = _holder(owner)
        if isinstance(lock, FileLock) and holder.endswith(f" on {_this_host()}"):
            raise _busy(path, holder) from None  # only a living process holds a lock here
        print(f"dsnet: {path} is held by {holder}; waiting for it.", file=sys.stderr)
        try:
            lock.acquire(timeout=_LOCK_WAIT_S, poll_interval=_POLL_S)
        except Timeout as error:
            raise _busy(path, _holder(owner)) from error
    return lock


def _holder(owner: Path) -> str:
    """Return which process holds the lock, by the file that it wrote."""
    try:
        return owner.read_text().strip()
    except FileNotFoundError:
        return "another process"


def _busy(path: Path, holder: str) -> UserError:
    return UserError(
        f"training into {path}",
        expected="no other training of the same detector",
        came=f"one that is running ({holder})",
        remedy="wait for its end, or stop that process",
    )


def _check_numerics(path: Path, numerics: str) -> None:
    """Stop before a checkpoint is resumed in a precision or on a kind of device that is not its."""
    recorded = path / _NUMERICS
    began = recorded.read_text() if recorded.exists() else numerics
    if began != numerics:
        raise UserError(
            f"the checkpoint in {path}",
            expected=f"a training that goes on as it began, in {began}",
            came=f"{numerics} on this node",
            remedy="start it on a node like the first, or delete that folder to begin again",
        )


def _joined(path: Path, fingerprint: str) -> RunFolder:
    """Return the folder as soon as the first process of the same training has prepared it."""
    recorded, end = path / _FINGERPRINT, time.monotonic() + _WAIT_S
    while not recorded.exists() or recorded.read_text().strip() != fingerprint:
        if time.monotonic() > end:
            raise UserError(
                f"training into {path}",
                expected="that the first process of the training prepares the folder",
                came=f"none with the same config and versions in {_WAIT_S:.0f} s",
                remedy="look at its log, and give all nodes the same folder and versions",
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
    with whole(path) as temporary, temporary.open("wb") as stream:
        torch.save(dict(value), stream)
