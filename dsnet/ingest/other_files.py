"""The identifying values of a cohort that no slice's header holds: its tables and its paths."""

import csv
import html
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pydicom
from pydicom.errors import InvalidDicomError

from dsnet.cohort.folder import CohortFolder
from dsnet.cohort.spreadsheet import read_workbook
from dsnet.dicom.dates import dates
from dsnet.dicom.identifying import Value, collect, value
from dsnet.dicom.reader import is_of_machine, quiet
from dsnet.dicom.scan import ScannedFile, scan

TABLE, ANNOTATION, PATH, REMARK = "cohort table", "annotation", "path", "ReviewComments"

_PUBLIC = ("cohort.json", ".phantom", ".snakemake_timestamp")
"""Files that are public by intent, and those that this program wrote."""

_KINDS = {
    ".xlsx": "workbook",
    ".xlsm": "workbook",
    ".csv": "table",
    ".tsv": "table",
    ".json": "json",
    ".xml": "xml",
    ".txt": "text",
    ".dcm": "dicom",
    "": "dicom",
}
"""By suffix, what is read."""

_VOXELS = (".nii", ".nii.gz", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".npy", ".nrrd")
"""Suffixes of masks and pictures, of which the paths alone are searched."""

_NOT_READ = "not read"
"""Cause for a form that is not known."""

_LARGEST_BYTES = 1 << 28
"""Of a file, or of a workbook once it is unzipped: it is read whole."""

_LOCK = "~$"
"""Begins the name of the file that Excel lays beside a workbook that is open."""

_RETAINED = frozenset({"sex", "age", "height", "weight", "size", "height_cm", "weight_kg"})
_REVIEW = frozenset({"scope", "decision", "code", "reviewer", "date", "patient_key"})
"""Columns of ``review.csv`` that the ledger repeats, or that come from it."""
_PSEUDONYM = re.compile(r"[FISEP]-[0-9a-f]{16}")
_IDENTITY = re.compile(r"(^|[\W_])(id|ids|pid|mrn|patient|accession|name|number|nr|no)([\W_]|$)")
_NUMBER = re.compile(r"[-+]?\d*[.,]?\d*(?:[eE][-+]?\d+)?")
_UID = re.compile(r"\d+(?:\.\d+){3,}")
_WORD = re.compile(r"[^\W\d_]{4,}|\d{6,}")
_XML_TEXT = re.compile(r">([^<>]+)<")
_LONGEST = 1024


class NotSearched(NamedTuple):
    """A file or folder beside ``dicom/`` whose values are not known.

    Attributes
    ----------
    kind : {"table", "workbook", "json", "xml", "text", "dicom", "folder", "other"}
        What it is by its name; public. ``other`` has a form that is not read, such as PDF.
    relative : str
        Its path below the cohort folder; private.
    cause : str
        Class of the exception, or "too large" or "not read"; public.
    """

    kind: str
    relative: str
    cause: str


class Beside(NamedTuple):
    """What `values_beside` returns."""

    values: list[Value]
    not_searched: list[NotSearched]


def values_beside(cohort: CohortFolder, slices: Iterable[str]) -> Beside:
    """Return the identifying values of all tables, annotations and paths of a cohort.

    A file that cannot be read stops nothing: it is returned in `Beside.not_searched`, as is each
    folder that cannot be entered. What was read before the fault counts.

    Parameters
    ----------
    cohort : CohortFolder
        Every file outside its ``dicom/`` is read that is CSV, XLSX, JSON, XML, text or DICOM.
        Voxels (NIfTI, images) and ``cohort.json``, which is public, are not.
    slices : iterable of str
        Relative paths of the files below ``dicom/``.

    Raises
    ------
    MemoryError, OSError
        If the machine is at fault and not the file.
    """
    denied: list[str] = []
    files = [
        file
        for file in scan(cohort.path, skip=cohort.dicom, denied=denied)
        if _is_searched(file.relative.rpartition("/")[2])
    ]
    values: dict[Value, None] = {}
    not_searched = [NotSearched("folder", folder, "PermissionError") for folder in denied]
    for file in files:
        cause = ""
        try:
            with quiet():
                cause = _read_into(values, file)
        except Exception as error:  # one odd file must not stop the cohort
            if is_of_machine(error):
                raise
            cause = type(error.__cause__ or error).__name__  # below the sentence of a UserError
        if cause:
            kind = "other" if cause == _NOT_READ else _kind(file.relative)
            not_searched.append(NotSearched(kind, file.relative, cause))
    paths = (*slices, *(file.relative for file in files), *denied)
    for name in sorted({name for path in paths for name in path.split("/")}):
        values.update(dict.fromkeys(_path_values(name)))
    return Beside(list(values), not_searched)


def _is_searched(name: str) -> bool:
    return name not in _PUBLIC and not name.startswith(_LOCK)


def _path_values(name: str) -> Iterator[Value]:
    """Return a file or folder name whole, and its words and long numbers one by one."""
    for text in (name, name.rpartition(".")[0], *_WORD.findall(name)):
        one = value(PATH, "text", text)
        if one:
            yield one


def _kind(relative: str) -> str:
    return _KINDS.get(PurePosixPath(relative).suffix.lower(), "other")


def _read_into(values: dict[Value, None], file: ScannedFile) -> str:
    """Add the values of a file, one by one; return "" or why it is not searched."""
    kind = _kind(file.relative)
    if kind == "other":
        return "" if file.relative.lower().endswith(_VOXELS) else _NOT_READ
    if file.size > _LARGEST_BYTES:
        return "too large"
    try:
        for one in _contents(Path(file.path), kind):
            values[one] = None
    except InvalidDicomError:
        return _NOT_READ
    return ""


def _contents(path: Path, kind: str) -> Iterator[Value]:
    if kind == "workbook":
        _check_unzipped(path)
        yield from _table(read_workbook(path), path.name)
    elif kind == "table":
        yield from _table(_csv_rows(_text(path)), path.name)
    elif kind == "dicom":
        yield from collect(pydicom.dcmread(path, stop_before_pixels=True))
    else:
        for text in _strings(path, kind):
            yield from _cell(ANNOTATION, text, named_identity=False)


def _check_unzipped(path: Path) -> None:
    """Raise ValueError for a workbook that would fill the memory."""
    with zipfile.ZipFile(path) as book:
        if sum(member.file_size for member in book.infolist()) > _LARGEST_BYTES:
            raise ValueError


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return content.decode("utf-16", "replace")
        return content.decode("latin-1")


def _csv_rows(text: str) -> list[list[str]]:
    header = text.partition("\n")[0]
    return list(csv.reader(io.StringIO(text), delimiter=max(",;\t|", key=header.count)))


def _table(rows: list[list[str]], table: str) -> Iterator[Value]:
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    public = _RETAINED | _REVIEW if table == "review.csv" else _RETAINED
    for row in rows[1:]:
        for name, cell in zip(header, row, strict=False):
            if name not in public:
                kind = REMARK if name == "reason" else TABLE
                yield from _cell(kind, cell, named_identity=bool(_IDENTITY.search(name)))


@lru_cache(maxsize=1 << 14)  # levels, edges and the like recur in every row
def _cell(kind: str, text: str, *, named_identity: bool) -> tuple[Value, ...]:
    """Return what a cell identifies; a number does so by its column's name, zeros or length."""
    text = text.strip()
    if _PSEUDONYM.fullmatch(text):
        return ()
    written = sorted(dates(text)) if len(text) <= len("30 September 2020 10:20:30.000") else []
    values = tuple(Value(kind, "date", day) for day in written)
    digits = text.lstrip("+-")
    long = digits.isdigit() and (digits.startswith("0") or len(digits) >= 7)
    if written or len(text) > _LONGEST or (_NUMBER.fullmatch(text) and not named_identity | long):
        return values
    one = value(kind, "uid" if _UID.fullmatch(text) else "text", text)
    return (*values, one) if one else values


def _strings(path: Path, kind: str) -> Iterator[str]:
    text = _text(path)
    if kind == "json":
        yield from _leaves(json.loads(text))
    elif kind == "xml":
        yield from (html.unescape(run) for run in _XML_TEXT.findall(text))
    else:
        yield from (line for line in text.splitlines() if _WORD.search(line))


def _leaves(root: Any) -> Iterator[str]:
    """Yield every text of a JSON document, names of members excepted."""
    pending = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
