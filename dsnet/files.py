"""Files that are whole or absent: temporary name, then rename."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsnet.errors import UserError

if TYPE_CHECKING:  # the command line writes no tables, and pandas takes long to load
    import pandas as pd

_BLOCK_BYTES = 1 << 20


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    A block that raises leaves neither the temporary file nor a changed `path` behind.

    Raises
    ------
    UserError
        If the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        if error.errno in _UNWRITABLE:
            raise _unwritable(path, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the system write a file to the disk: a rename alone may outlive a crash without it."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with unix line ends."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, frame: "pd.DataFrame") -> None:
    """Write `frame` as CSV without its index."""
    with whole(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def write_parquet(path: Path, frame: "pd.DataFrame") -> None:
    """Write `frame` as Parquet without its index."""
    with whole(path) as temporary:
        frame.to_parquet(temporary, index=False)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


_UNWRITABLE = {
    errno.EACCES: "permission was denied",
    errno.EPERM: "permission was denied",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: "the file system is read-only",
}


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path.parent}",
        expected="a folder that can be written",
        came=f"that {_UNWRITABLE[error.errno or 0]}",
        remedy="free or unlock it, or set the config key results to another folder",
    )
