"""What was read from each file, so that a re-run opens only what is new or has changed.

The facts of a file are one row of short JSON. Identifying values, of which the slices of a patient
share nearly all, are numbers into a table of values. No list of all files is held in memory.
"""

import json
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from dsnet.dicom.evidence import NOTHING, Evidence
from dsnet.dicom.header import BLANK, Header
from dsnet.dicom.identifying import Value
from dsnet.dicom.reader import Facts
from dsnet.dicom.scan import ScannedFile

_TABLES = """
DROP TABLE IF EXISTS facts;
CREATE TABLE IF NOT EXISTS files (
    relative TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, settings TEXT,
    facts TEXT, numbers BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS identifying (
    number INTEGER PRIMARY KEY, kind TEXT, form TEXT, text TEXT
);
"""
"""The first table is that of earlier versions."""

_OVERWRITE = "PRAGMA secure_delete = ON"
"""Some builds of SQLite leave in the file what was deleted."""

_PASSING = frozenset(
    {"no_permission", "io_error", "no_decoder", "too_large", "timeout", "memory_limit"}
)
"""Faults that may be gone in the next run although the file has not changed: they depend on the
system or on the configured limits. Such files are read again in each run, as are those with a
`Facts.fault_class`: what nobody foresaw may be a fault of the program or of the machine."""

_READ_AGAIN = -1
"""Stands in place of a time that no file has."""

_PAGES = "PRAGMA cache_size = -32768"
"""KiB of the database in memory: SQLite's 2 MB do not hold the inner pages of a large cohort."""

_COMMIT_S = 1.0
"""A durable commit takes up to 40 ms; a process that dies costs the reading of these seconds."""

_BATCH = 10_000
_NUMBER_BYTES = 4
_MOST_NUMBERED = 1 << 16
"""Values whose number is remembered; one that comes again later gets another number."""

_OWN = ("fault", "fault_class", "fault_frame")
_REPEATED = pa.dictionary(pa.int32(), pa.string())
_TYPES = {str: _REPEATED, float: pa.float64(), bool: pa.bool_(), int | None: pa.int64()}
_UNIQUE = ("sop_instance_uid", "plane", "pixel_hash")
"""Texts that differ from file to file; the others are numbers into a table."""

_COLUMNS = pa.schema(
    [
        ("relative_path", pa.string()),
        ("readable", pa.bool_()),
        ("decoded", pa.bool_()),
        *((name, _REPEATED) for name in _OWN),
        *(
            (name, pa.string() if name in _UNIQUE else _TYPES[kind])
            for one in (Header, Evidence)
            for name, kind in one.__annotations__.items()
        ),
    ]
)


_VALUES = pa.schema(
    [("number", pa.int64()), ("value", pa.large_string()), ("kind", _REPEATED), ("form", _REPEATED)]
)


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
        self._numbers: dict[Value, int] = {}
        (last,) = connection.execute("SELECT max(number) FROM identifying").fetchone()
        self._next_number = (last or 0) + 1
        self._committed_s = time.monotonic()
        self._has_orphans = False

    def keep_only(self, relatives: Collection[str]) -> None:
        """Forget files that are gone: there is no reason left to keep their identities."""
        cached = self._connection.execute("SELECT relative FROM files")
        self.remove([relative for (relative,) in cached if relative not in relatives])

    def forget(self, relatives: Sequence[str]) -> None:
        """Forget some files, so that nothing of them is left in the cache's own file."""
        self.remove(relatives)
        self._connection.execute("VACUUM")

    def count(self, relatives: Iterable[str]) -> int:
        """Return how many of some files are known."""
        query = "SELECT COUNT(*) FROM files WHERE relative = ?"
        return sum(self._connection.execute(query, (one,)).fetchone()[0] for one in relatives)

    def unread(self, files: Sequence[ScannedFile]) -> list[ScannedFile]:
        """Return those files whose facts are not known, or that have changed since."""
        query = "SELECT size, mtime_ns, settings FROM files WHERE relative = ?"
        new = []
        for file in files:
            known = self._connection.execute(query, (file.relative,)).fetchone()
            if known != (file.size, file.mtime_ns, self._settings):
                new.append(file)
                self._has_orphans |= known is not None
        return new

    def add(self, facts: Iterable[tuple[ScannedFile, Facts]]) -> None:
        """Keep the facts of some files, durably after a second or when the cache is closed."""
        rows = [self._row(file, one) for file, one in facts]
        self._connection.executemany("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)
        if time.monotonic() - self._committed_s > _COMMIT_S:
            self._connection.commit()
            self._committed_s = time.monotonic()

    def take_over(self, other: "Cache") -> None:
        """Keep what another cache has read under the same settings."""
        query = "SELECT number, kind, form, text FROM identifying"
        numbers = {
            number: self._number(Value(*value))
            for rows in other._batches(query)
            for number, *value in rows
        }
        for rows in other._batches("SELECT * FROM files"):
            taken = [
                (*row[:-1], np.array([numbers[n] for n in _numbers(row[-1:])], np.int32).tobytes())
                for row in rows
            ]
            self._connection.executemany("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", taken)
        self._has_orphans = True  # of rows that were replaced
        self._connection.commit()

    def facts(
        self, columns: Sequence[str] = _COLUMNS.names, relatives: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """Return one row per file, by relative path.

        Parameters
        ----------
        columns : sequence of str
            Some of ``relative_path``, ``readable``, ``decoded``, and the attributes of `Facts`,
            `Header` and `Evidence`, identifying values excepted.
        relatives : iterable of str, optional
            These files alone, in their order.

        Returns
        -------
        pandas.DataFrame
            Texts that many files share are categories.
        """
        query = "SELECT relative, facts FROM files "
        if relatives is None:
            batches = self._batches(query + "ORDER BY relative")
        else:
            query += "WHERE relative = ?"
            found = [self._connection.execute(query, (one,)).fetchone() for one in relatives]
            batches = iter([found])
        return _as_frame([_as_table(batch, columns) for batch in chain(batches, [[]])])

    def identifying(self, patients: "pd.Series[str]") -> pa.Table:
        """Return the identifying values of each patient.

        Parameters
        ----------
        patients : Series of str
            Patient key of each file, in the order of `facts`.

        Returns
        -------
        pyarrow.Table
            Columns value, kind, form and patient_key, all but the first one dictionaries; rows may
            repeat.
        """
        codes, keys = pd.factorize(patients)
        pairs = [np.empty(0, np.int64)]
        start = 0
        for rows in self._batches("SELECT numbers FROM files ORDER BY relative"):
            sizes = [len(numbers) // _NUMBER_BYTES for (numbers,) in rows]
            of_values = np.repeat(codes[start : start + len(rows)], sizes)
            start += len(rows)
            pairs.append(np.unique(of_values << 32 | _numbers(numbers for (numbers,) in rows)))
        of_patients, numbers = np.divmod(np.unique(np.concatenate(pairs)), 1 << 32)
        query = "SELECT number, text, kind, form FROM identifying ORDER BY number"
        values = pa.concat_tables([_VALUES.empty_table(), *map(_as_values, self._batches(query))])
        values = values.unify_dictionaries().combine_chunks()
        ranks = np.searchsorted(values["number"].to_numpy(), numbers)
        of_keys = pa.DictionaryArray.from_arrays(
            of_patients.astype(np.int32), pa.array(map(str, keys), pa.string())
        )
        return values.drop_columns("number").take(ranks).append_column("patient_key", of_keys)

    def _row(self, file: ScannedFile, facts: Facts) -> tuple[object, ...]:
        time_ns = file.mtime_ns
        if facts.fault in _PASSING or facts.fault_class:
            time_ns = _READ_AGAIN
        known = map(self._numbers.get, facts.identifying)
        numbers = [
            one or self._number(value) for one, value in zip(known, facts.identifying, strict=True)
        ]
        blob = np.array(numbers, np.int32).tobytes()
        return file.relative, file.size, time_ns, self._settings, _as_json(facts), blob

    def _number(self, value: Value) -> int:
        number = self._numbers.get(value)
        if number is None:
            if len(self._numbers) >= _MOST_NUMBERED:
                self._numbers.clear()
            number = self._numbers[value] = self._next_number
            self._next_number += 1
            row = (number, *value)
            self._connection.execute("INSERT INTO identifying VALUES (?, ?, ?, ?)", row)
        return number

    def remove(self, relatives: Sequence[str]) -> None:
        """Remove some files, and the values that no file has any more."""
        rows = ((relative,) for relative in relatives)
        self._connection.executemany("DELETE FROM files WHERE relative = ?", rows)
        if relatives or self._has_orphans:
            self._forget_orphans()
        self._connection.commit()

    def _forget_orphans(self) -> None:
        """Delete the values that no file has any more."""
        used = np.zeros(self._next_number, bool)
        for rows in self._batches("SELECT numbers FROM files"):
            used[_numbers(numbers for (numbers,) in rows)] = True
        numbers = self._connection.execute("SELECT number FROM identifying").fetchall()
        unused = [(number,) for (number,) in numbers if not used[number]]
        self._connection.executemany("DELETE FROM identifying WHERE number = ?", unused)
        self._numbers.clear()
        self._has_orphans = False

    def _batches(self, query: str) -> Iterator[list[Any]]:
        cursor = self._connection.execute(query)
        while rows := cursor.fetchmany(_BATCH):
            yield rows


@contextmanager
def open_cache(path: Path, settings: str = "") -> Iterator[Cache]:
    """Open the cache at `path`, mode 600; a file that is no database is replaced."""
    # Created here, since SQLite would create it readable for everybody.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        _make_tables(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        path.write_bytes(b"")
        _make_tables(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(_OVERWRITE)
        connection.execute(_PAGES)
        try:
            yield Cache(connection, settings)
        finally:
            connection.commit()


def facts_table(facts: Iterable[tuple[str, Facts]]) -> pd.DataFrame:
    """Return facts by relative path as a table, as `Cache.facts` does."""
    rows = [(relative, _as_json(one)) for relative, one in facts]
    return _as_frame([_as_table(rows, _COLUMNS.names)])


def _make_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(_OVERWRITE)
        connection.executescript(_TABLES)


def _as_json(facts: Facts) -> str:
    own = facts.fault, facts.fault_class, facts.fault_frame
    return json.dumps((own, facts.header, facts.evidence))


def _as_table(rows: Sequence[tuple[str, str]], columns: Sequence[str]) -> pa.Table:
    """Return relative paths and their facts, as `_as_json` gives them, in columns."""
    schema = pa.schema([_COLUMNS.field(name) for name in columns])
    chosen = itemgetter(*map(_COLUMNS.get_field_index, columns))
    flat = []
    for relative, text in rows:
        own, head, evidence = json.loads(text)
        read = head is not None, evidence is not None
        flat.append(chosen((relative, *read, *own, *(head or BLANK), *(evidence or NOTHING))))
    cells = zip(*flat, strict=True) if flat else [()] * len(schema)
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(cells, schema, strict=True)],
        schema=schema,
    )


def _as_values(rows: Sequence[tuple[int, str, str, str]]) -> pa.Table:
    columns = zip(_VALUES, zip(*rows, strict=True), strict=True)
    return pa.Table.from_arrays([pa.array(x, field.type) for field, x in columns], schema=_VALUES)


def _as_frame(tables: Iterable[pa.Table]) -> pd.DataFrame:
    whole = pa.concat_tables(tables).unify_dictionaries()
    types = {pa.int64(): pd.Int64Dtype()}
    frame: pd.DataFrame = whole.to_pandas(types_mapper=types.get, self_destruct=True)
    return frame


def _numbers(blobs: Iterable[bytes]) -> NDArray[np.int32]:
    """Return the numbers of some files, one file's after the other."""
    return np.frombuffer(b"".join(blobs), np.int32)
