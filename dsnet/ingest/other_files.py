"""The identifying values of a cohort that no slice's header holds: its tables and its paths."""

import csv
import html
import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError

from dsnet.cohort.folder import CohortFolder
from dsnet.cohort.spreadsheet import read_workbook
from dsnet.dicom.dates import dates
from dsnet.dicom.identifying import Value, collect, value

TABLE, ANNOTATION, PATH, REMARK = "cohort table", "annotation", "path", "ReviewComments"

_PUBLIC = ("cohort.json", ".phantom", ".snakemake_timestamp")
"""What says of itself that it may be known, and what this program wrote."""

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


def values_beside(cohort: CohortFolder, slices: Iterable[str]) -> list[Value]:
    """Return the identifying values of all tables, annotations and paths of a cohort.

    Parameters
    ----------
    cohort : CohortFolder
        Every file outside its ``dicom/`` is read whose form is known: CSV, XLSX, JSON, XML, text
        and DICOM. Voxels (NIfTI, images) and ``cohort.json``, which is public, are not.
    slices : iterable of str
        Relative paths of the files below ``dicom/``.
    """
    found: dict[Value, None] = {}
    others = [path for path in sorted(cohort.path.rglob("*")) if _is_beside(path, cohort)]
    for path in others:
        found.update(dict.fromkeys(_contents(path)))
    paths = [path.relative_to(cohort.path).as_posix() for path in others]
    parts = {part for path in (*slices, *paths) for part in path.split("/")}
    for part in sorted(parts):
        found.update(dict.fromkeys(_path_values(part)))
    return list(found)


def _is_beside(path: Path, cohort: CohortFolder) -> bool:
    return (
        path.is_file()
        and path.name not in _PUBLIC
        and not path.name.startswith(_LOCK)
        and not path.is_relative_to(cohort.dicom)
    )


def _path_values(part: str) -> Iterator[Value]:
    """Return a file or folder name whole, and its words and long numbers one by one."""
    for text in (part, part.rpartition(".")[0], *_WORD.findall(part)):
        found = value(PATH, "text", text)
        if found:
            yield found


def _contents(path: Path) -> Iterator[Value]:
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        yield from _table(read_workbook(path), path.name)
    elif path.suffix.lower() in (".csv", ".tsv"):
        yield from _table(_csv_rows(_text(path)), path.name)
    elif path.suffix.lower() in (".json", ".xml", ".txt"):
        for text in _strings(path):
            yield from _cell(ANNOTATION, text, named_identity=False)
    elif path.suffix.lower() in ("", ".dcm"):
        try:
            yield from collect(pydicom.dcmread(path, stop_before_pixels=True))
        except InvalidDicomError:
            return


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1")


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


def _cell(kind: str, text: str, *, named_identity: bool) -> Iterator[Value]:
    """Return what a cell identifies; a number does so by its column's name, zeros or length."""
    text = text.strip()
    if _PSEUDONYM.fullmatch(text):
        return
    written = sorted(dates(text)) if len(text) <= len("30 September 2020 10:20:30.000") else []
    for day in written:
        yield Value(kind, "date", day)
    digits = text.lstrip("+-")
    long = digits.isdigit() and (digits.startswith("0") or len(digits) >= 7)
    if written or len(text) > _LONGEST or (_NUMBER.fullmatch(text) and not named_identity | long):
        return
    found = value(kind, "uid" if _UID.fullmatch(text) else "text", text)
    if found:
        yield found


def _strings(path: Path) -> Iterator[str]:
    text = _text(path)
    if path.suffix.lower() == ".json":
        try:
            yield from _leaves(json.loads(text))
        except ValueError:
            return
    elif path.suffix.lower() == ".xml":
        yield from (html.unescape(part) for part in _XML_TEXT.findall(text))
    else:
        yield from (line for line in text.splitlines() if _WORD.search(line))


def _leaves(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        node = node.values()
    elif not isinstance(node, list):
        if isinstance(node, str):
            yield node
        return
    for child in node:
        yield from _leaves(child)
