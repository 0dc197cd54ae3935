"""Listing every file below a folder, of any kind and any name."""

import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from dsnet.errors import UserError

_ESCAPE = re.compile(rb"\\(\\|x[0-9a-f]{2})")


class ScannedFile(NamedTuple):
    """A file, as the operating system shows it before it is opened.

    Attributes
    ----------
    path : str
        For `open`.
    relative : str
        Below the scanned folder, as `portable` writes it.
    size, mtime_ns : int
        Bytes, and time of the last change; 0 where the system would not say.
    """

    path: str
    relative: str
    size: int
    mtime_ns: int


def scan(
    root: Path, *, skip: Path | None = None, denied: list[str] | None = None
) -> list[ScannedFile]:
    """Return every file below `root`, in the order of their relative paths.

    Symbolic links are followed, one that leads back to a folder above itself excepted. A broken
    link is a file that cannot be read. Pipes, sockets and devices are not files.

    Parameters
    ----------
    root : Path
    skip : Path, optional
        A folder below it that is left out.
    denied : list of str, optional
        Takes the relative paths of folders that cannot be listed, which then is no error.

    Raises
    ------
    UserError
        If a folder cannot be listed: files in it would be missing without a trace.
    """
    files: list[ScannedFile] = []
    stack = [(os.fspath(root), "", frozenset[tuple[int, int]]())]
    while stack:
        folder, prefix, above = stack.pop()
        try:
            entries, identity = _list(folder)
        except OSError as error:
            if denied is None:
                raise _denied(folder, error) from error
            denied.append(portable(prefix.rstrip("/")))
            continue
        if identity in above:
            continue
        for entry in entries:
            name = prefix + entry.name
            kind, size, mtime_ns = _status(entry)
            if stat.S_ISDIR(kind) and (skip is None or entry.path != os.fspath(skip)):
                stack.append((entry.path, name + "/", above | {identity}))
            elif stat.S_ISREG(kind):
                files.append(ScannedFile(entry.path, portable(name), size, mtime_ns))
    return sorted(files, key=lambda file: file.relative)


def portable(path: str) -> str:
    r"""Return a relative path, with ``/`` between folders, as text that every table can hold.

    Bytes that are not UTF-8 become ``\xff`` and the like, and a backslash in a name becomes
    ``\\``, so that `native` leads back.
    """
    name = path.encode("utf-8", _surrogates()).replace(b"\\", rb"\\")
    return name.decode("utf-8", "backslashreplace")


def native(portable_path: str) -> str:
    """Return the path for `open` that `portable` was given, with ``/`` between folders."""
    name = portable_path.encode("utf-8")
    return _ESCAPE.sub(_unescape, name).decode("utf-8", _surrogates())


def parent(relative: str) -> str:
    """Return the folder of a portable relative path, "" for the scanned folder itself."""
    return relative.rpartition("/")[0]


def _unescape(match: re.Match[bytes]) -> bytes:
    escaped = match[1]
    return escaped if escaped == b"\\" else bytes.fromhex(escaped[1:].decode())


def _surrogates() -> str:
    """Return how Python hides what is not Unicode in a file name, as `os.fsencode` does."""
    return "surrogatepass" if os.name == "nt" else "surrogateescape"


def _list(folder: str) -> tuple[list[os.DirEntry[str]], tuple[int, int]]:
    """Return what is in a folder, and by what the system knows the folder itself."""
    status = os.stat(folder)  # noqa: PTH116 - a Path per folder buys nothing here
    with os.scandir(folder) as entries:
        return list(entries), (status.st_dev, status.st_ino)


def _denied(folder: str, error: OSError) -> UserError:
    return UserError(
        "dicom/",
        expected="folders that can be listed",
        came=f"one that cannot ({type(error).__name__})",
        remedy="grant this user permission to read it",
        private=folder,
    )


def _status(entry: os.DirEntry[str]) -> tuple[int, int, int]:
    try:
        status = entry.stat()
    except OSError:
        # A broken link, or a folder that may be listed and not entered: reading it will fail.
        return stat.S_IFREG, 0, 0
    return status.st_mode, status.st_size, status.st_mtime_ns
