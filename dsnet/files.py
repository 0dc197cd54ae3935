"""Files that are whole or absent: temporary name, then rename."""

import csv
import errno
import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsnet.errors import UserError

if TYPE_CHECKING:  # the command line writes no tables, and pandas takes long to load
    import pandas as pd

_BLOCK_BYTES = 1 << 20
_FORMULA_STARTS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


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
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())  # a rename alone may outlive a crash without it
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        # torch.save raises a RuntimeError over the error of the stream that it writes to.
        cause = error if isinstance(error, OSError) else error.__context__
        if isinstance(cause, OSError) and cause.errno in _UNWRITABLE:
            raise _unwritable(f"{path.parent}", _UNWRITABLE[cause.errno]) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with unix line ends."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """Return the JSON object that a step wrote.

    Parameters
    ----------
    path : Path
    *keys : str
        That it must have.

    Raises
    ------
    UserError
        If it is missing or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _not_written(path.name, "no such file, or no JSON") from error
    if not isinstance(content, dict) or not set(keys) <= set(content):
        raise _not_written(path.name, "something else")
    return content


def write_csv(path: Path, frame: "pd.DataFrame") -> None:
    """Write `frame` as CSV without its index."""
    with whole(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def write_spreadsheet_csv(path: Path, frame: "pd.DataFrame", *, mode: int = 0o644) -> None:
    """Write `frame` as CSV that people open in a spreadsheet: no cell becomes a formula.

    Text in cells and headers that a spreadsheet would run begins with an apostrophe, which shows
    that it was text; numbers, also negative ones, stay numbers. All text is quoted, so that no
    separator within a cell begins another one. Programs that read the file back get the
    apostrophes, too.

    Parameters
    ----------
    path : Path
    frame : pandas.DataFrame
    mode : int
        Of the file, from its first byte on: 0o600 for one of the private folder.

    References
    ----------
    OWASP, CSV Injection, https://owasp.org/www-community/attacks/CSV_Injection
    """
    safe = frame.rename(columns=inert)
    safe = safe.map(lambda cell: inert(cell) if isinstance(cell, str) else cell)
    with whole(path) as temporary:
        temporary.touch(mode=mode)
        safe.to_csv(temporary, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)


def inert(text: str) -> str:
    r"""Return `text` with an apostrophe before it where a spreadsheet would run it.

    These are texts that begin with ``=``, ``+``, ``-``, ``@``, a tab or a line end, also after
    spaces and in full width, and that are no numbers.

    Examples
    --------
    >>> [inert(text) for text in ('=HYPERLINK("x")', "-2.5", "-2+3", "@SUM(1)", "Anna")]
    ['\'=HYPERLINK("x")', '-2.5', "'-2+3", "'@SUM(1)", 'Anna']
    """
    begins = text.lstrip(" ")[:1]
    runs = begins in _FORMULA_STARTS and begins != "" and not _NUMBER.fullmatch(text)
    return f"'{text}" if runs else text


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


_DATABASE_UNWRITABLE = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the file system or the file is read-only",
    sqlite3.SQLITE_CANTOPEN: "a database there cannot be opened",
    sqlite3.SQLITE_IOERR: "the disk cannot be written or read",
}


def cannot_write(error: Exception) -> UserError | None:
    """Return the sentence for an exception of a full or read-only disk, None for all others."""
    came = None
    if isinstance(error, sqlite3.OperationalError):
        came = _DATABASE_UNWRITABLE.get(error.sqlite_errorcode & 0xFF)  # without its extension
    elif isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
        came = _UNWRITABLE[error.errno]
    return _unwritable("the folder of results, private or temporary files", came) if came else None


def _unwritable(where: str, came: str) -> UserError:
    return UserError(
        where,
        expected="a folder that can be written",
        came=f"that {came}",
        remedy="free or unlock it, or set the config key results or private to another folder",
    )


def _not_written(name: str, came: str) -> UserError:
    return UserError(
        name,
        expected="the JSON object of an earlier step",
        came=came,
        remedy="run the workflow, which makes it first",
    )
