"""What was read from each file, so that a re-run opens only what is new or has changed."""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from dsnet.dicom.header import Header
from dsnet.dicom.identifying import Value
from dsnet.dicom.pixels import Evidence
from dsnet.dicom.reader import Facts
from dsnet.dicom.scan import ScannedFile

_TABLE = """
CREATE TABLE IF NOT EXISTS facts (
    relative TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, settings TEXT, facts TEXT
)
"""

_PASSING = frozenset(
    {"no_permission", "io_error", "no_decoder", "too_large", "timeout", "memory_limit"}
)
"""Faults that may be gone in the next run although the file has not changed: they depend on the
system or on the configured limits. Such files are read again in each run, as are those with a
`Facts.fault_class`: what nobody foresaw may be a fault of the program or of the machine."""


class Cache:
    """Facts by file; holds identities, hence private.

    Parameters
    ----------
    connection : sqlite3.Connection
        As `open_cache` gives it.
    settings : str
        What besides the file decides its facts: the reader's version and the thresholds.
    """

    def __init__(self, connection: sqlite3.Connection, settings: str) -> None:
        self._connection = connection
        self._settings = settings

    def keep_only(self, files: Iterable[ScannedFile]) -> None:
        """Forget files that are gone: there is no reason left to keep their identities."""
        present = {file.relative for file in files}
        cached = [
            relative for (relative,) in self._connection.execute("SELECT relative FROM facts")
        ]
        gone = [(relative,) for relative in cached if relative not in present]
        with self._connection:
            self._connection.executemany("DELETE FROM facts WHERE relative = ?", gone)

    def known(self, files: Sequence[ScannedFile]) -> dict[str, Facts]:
        """Return, by relative path, the facts of those files that have not changed."""
        wanted = {file.relative: (file.size, file.mtime_ns) for file in files}
        rows = self._connection.execute(
            "SELECT relative, size, mtime_ns, facts FROM facts WHERE settings = ?",
            (self._settings,),
        )
        return {
            relative: _load(facts)
            for relative, size, mtime_ns, facts in rows
            if wanted.get(relative) == (size, mtime_ns)
        }

    def add(self, facts: Iterable[tuple[ScannedFile, Facts]]) -> None:
        """Commit the facts of some files, all or none of them."""
        rows = [
            (file.relative, file.size, file.mtime_ns, self._settings, json.dumps(asdict(one)))
            for file, one in facts
            if one.fault not in _PASSING and not one.fault_class
        ]
        with self._connection:
            self._connection.executemany("REPLACE INTO facts VALUES (?, ?, ?, ?, ?)", rows)


@contextmanager
def open_cache(path: Path, settings: str) -> Iterator[Cache]:
    """Open the cache at `path`, mode 600; a file that is no database is replaced."""
    # Created here, since SQLite would create it readable for everybody.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        _make_table(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        path.write_bytes(b"")
        _make_table(path)
    with closing(sqlite3.connect(path)) as connection:
        yield Cache(connection, settings)


def _make_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(_TABLE)


def _load(text: str) -> Facts:
    stored = json.loads(text)
    return Facts(
        stored["fault"],
        Header(**stored["header"]) if stored["header"] else None,
        Evidence(**stored["evidence"]) if stored["evidence"] else None,
        tuple(Value(*value) for value in stored["identifying"]),
    )
