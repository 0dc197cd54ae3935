"""Paths and facts of one cohort folder."""

import difflib
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dsnet.cohort.spreadsheet import READABLE
from dsnet.errors import UserError

_OTHER_TABLES = frozenset(
    (".xls", ".xlsb", ".ods", ".numbers", ".tsv", ".tab", ".txt", ".mdb", ".accdb", ".sav", ".dta")
)
"""Suffixes of tables in formats that are not read."""

_FOLDERS = ("dicom", "annotations")
_TABLES = ("dxa", "clinical", "review")
_NEEDED = {"dicom/": "dicom", "annotations/": "annotations", "dxa.csv": "dxa"}
_NEARLY = 0.75
"""Similarity (`difflib`) from which an entry's name counts as a misspelt one."""


@dataclass(frozen=True)
class CohortFolder:
    """One cohort folder; everything but ``dicom/``, ``dxa.csv`` and ``annotations/`` is optional.

    Parameters
    ----------
    path : Path
        The folder named by the config key ``cohort``.
    """

    path: Path

    @property
    def dicom(self) -> Path:
        """DICOM files in any nesting, with other files among them."""
        return self.path / "dicom"

    @property
    def dxa(self) -> Path:
        """T-scores per patient and exam.

        Raises
        ------
        UserError
            If there are two tables, or one that cannot be read.
        """
        return self._table("dxa")

    @property
    def clinical(self) -> Path:
        """Sex, age, size and the history that excludes.

        Raises
        ------
        UserError
            If there are two tables, or one that cannot be read.
        """
        return self._table("clinical")

    @property
    def annotations(self) -> Path:
        """Boxes of vertebral bodies with their level."""
        return self.path / "annotations"

    @property
    def review(self) -> Path:
        """A reader's decisions.

        Raises
        ------
        UserError
            If there are two tables, or one that cannot be read.
        """
        return self._table("review")

    def strangers(self) -> list[tuple[str, str]]:
        """Return the name of each top-level entry that is not read, and what it nearly is.

        The latter is ``dicom/``, ``annotations/``, ``dxa.csv``, ``clinical.csv``, ``review.csv``,
        ``cohort.json`` or "". The names may be identifying.
        """
        known = {
            **{name: f"{name}/" for name in _FOLDERS},
            **{name: f"{name}.csv" for name in _TABLES},
            "cohort": "cohort.json",
        }
        strangers = []
        for path in sorted(self.path.iterdir()) if self.path.is_dir() else ():
            stem, suffix = path.stem.lower(), path.suffix.lower()
            is_table = stem in _TABLES and suffix in READABLE and path.is_file()
            is_table |= stem in _TABLES and suffix in _OTHER_TABLES  # of which `_table` speaks
            is_folder = path.name in _FOLDERS and path.is_dir()
            if is_table or is_folder or path.name == "cohort.json" or path.name[0] in ".~":
                continue
            near = difflib.get_close_matches(stem, known, n=1, cutoff=_NEARLY)
            strangers.append((path.name, known[near[0]] if near else ""))
        return strangers

    def lacks(self, entry: str) -> bool:
        """Return whether `entry` is ``dicom/``, ``annotations/`` or ``dxa.csv``, and is missing.

        Parameters
        ----------
        entry : str
            As `strangers` returns it.
        """
        try:
            return entry in _NEEDED and not getattr(self, _NEEDED[entry]).exists()
        except UserError:  # more than one, of which the reading of the table speaks
            return False

    def check(self) -> None:
        """Make sure that there is a folder with a folder ``dicom/`` in it.

        Raises
        ------
        UserError
        """
        if not self.path.is_dir():
            raise UserError(
                "config key cohort",
                expected="a cohort folder",
                came="a path where there is none",
                remedy="correct the key, or put the folder there (dsnet init lays one out)",
                private=str(self.path),
            )
        if not self.dicom.is_dir():
            near = [name for name, known in self.strangers() if known == "dicom/"]
            raise UserError(
                "cohort folder",
                expected="a folder dicom/ in it",
                came="one whose name is nearly so" if near else "none",
                remedy="rename it to dicom"
                if near
                else "put the DICOM files there, or set the config key cohort to another folder",
                private=" ".join(near),
            )

    def _table(self, stem: str) -> Path:
        """Return the table of a name, as CSV or workbook; without one, the path of the CSV."""
        entries = self.path.iterdir() if self.path.is_dir() else ()
        named = sorted(path for path in entries if path.stem.lower() == stem and path.is_file())
        readable = [path for path in named if path.suffix.lower() in READABLE]
        others = [path.name for path in named if path.suffix.lower() in _OTHER_TABLES]
        if len(readable) > 1 or (others and not readable):
            raise UserError(
                "cohort folder",
                expected=f"one table {stem}.csv or {stem}.xlsx",
                came=" and ".join(path.name for path in readable) or " and ".join(others),
                remedy="delete one of them" if readable else "save it as .xlsx or as CSV UTF-8",
            )
        return readable[0] if readable else self.path / f"{stem}.csv"

    @cached_property
    def _description(self) -> dict[str, Any]:
        path = self.path / "cohort.json"
        if not path.exists():
            return {}
        try:
            description = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            description = None
        if not isinstance(description, dict):
            raise UserError(
                "cohort.json",
                expected="a JSON object with name, synthetic and note",
                came="something else",
                remedy="correct the file, or delete it",
            )
        return description

    @property
    def name(self) -> str:
        """The cohort's name, which tables print; ``cohort`` where it has none."""
        return str(self._description.get("name", "cohort"))

    @property
    def note(self) -> str:
        """A remark that goes with the name; "" where there is none."""
        return str(self._description.get("note", ""))

    @property
    def synthetic(self) -> bool:
        """Whether the data are made up; every table and figure then says so."""
        return self._description.get("synthetic", False) is True

    @property
    def phantom_seed(self) -> int | None:
        """The seed of the built-in phantom, or None for any other cohort."""
        seed = self._description.get("phantom_seed") if self.synthetic else None
        return seed if isinstance(seed, int) else None

    def fingerprint(self) -> str:
        """Digest of (relative path, size, mtime) of every file, without reading one.

        Sixteen hexadecimal digits; they change when a file is added, removed, renamed or written.
        """
        digest = hashlib.sha256()
        for path, entry in _scan(self.path):
            digest.update(path + b"\0%d %d\n" % (entry.st_size, entry.st_mtime_ns))
        return digest.hexdigest()[:16]

    def shape(self) -> str:
        """Digest of what a copy keeps: path and size of each slice, bytes of each table."""
        digest = hashlib.sha256()
        slices = os.fsencode(self.dicom.name) + os.fsencode(os.sep)
        for path, entry in _scan(self.path):
            digest.update(path + b"\0%d\n" % entry.st_size)
            if not path.startswith(slices):
                digest.update((self.path / os.fsdecode(path)).read_bytes())
        return digest.hexdigest()[:16]


def _scan(root: Path) -> list[tuple[bytes, os.stat_result]]:
    """Return path below `root` and status of every file, by path."""
    files: list[tuple[bytes, os.stat_result]] = []
    base = os.fsencode(root)
    stack = [base]
    while stack:
        try:
            with os.scandir(stack.pop()) as scanned:
                entries = list(scanned)
        except PermissionError:  # ingestion counts it among what it could not search
            continue
        for entry in entries:
            if entry.is_dir():
                stack.append(entry.path)
                continue
            try:
                status = entry.stat()
            except OSError:  # a broken link: its own status is all that there is
                status = entry.stat(follow_symlinks=False)
            files.append((os.path.relpath(entry.path, base), status))
    return sorted(files, key=lambda file: file[0])
