"""Withdrawal of consent: everywhere a patient stands, and its removal.

What was computed with the patient is deleted, and made again without; a record by key stays in the
private folder, by which ingestion leaves the patient's files out if they come again (criterion
``withdrawn``). The cohort folder belongs to the hospital and is never written.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

from dsnet import schemas
from dsnet.audit.explain import patient_rows
from dsnet.dicom.scan import native
from dsnet.files import whole, write_csv, write_parquet
from dsnet.ingest.cache import open_cache
from dsnet.private import PrivateCohort
from dsnet.results import SOURCE, Results

_MADE_FROM_ALL = (".html", ".png", ".svg", ".npy", ".md")
"""Files that show or sum up all patients without naming one."""

_KEY = re.compile(rb"[EFIPS]-[0-9a-f]{16}")
_ALL_SUBSETS = frozenset(schemas.SUBSETS)
"""Where the patient counts as being if the split of a model is gone."""

_MODELS = {"models", "checkpoints"}
_LOCK = "busy"
"""A training's lock, which it removes itself."""


@dataclass(frozen=True)
class Trace:
    """One file that holds something of the patient.

    Attributes
    ----------
    path : Path
    what : str
    """

    path: Path
    what: str


@dataclass(frozen=True)
class Patient:
    """Who withdraws.

    Attributes
    ----------
    key : str
        Pseudonym.
    keys : frozenset of str
        The pseudonyms of the patient, of all studies, series, images and files.
    hospital_ids : frozenset of str
        Private.
    paths : tuple of str
        Of the files below ``dicom/``; private.
    """

    key: str
    keys: frozenset[str]
    hospital_ids: frozenset[str]
    paths: tuple[str, ...]


def find_patient(results: Results, private: PrivateCohort, folder: Path, patient: str) -> Patient:
    """Return all that names a patient.

    Parameters
    ----------
    results : Results
    private : PrivateCohort
    folder : Path
        The folder of the config key ``private``.
    patient : str
        Hospital ID or pseudonym.

    Raises
    ------
    UserError
        If there is no such patient.
    """
    rows = patient_rows(results, patient, folder)
    columns = ("patient_key", "study_key", "series_key", "image_key", "file_key")
    keys = frozenset().union(*(set(rows[name]) for name in columns)) - {""}
    identities = private.read_map()
    own = identities[identities["file_key"].isin(keys)]
    return Patient(
        key=str(rows["patient_key"].iloc[0]),
        keys=keys,
        hospital_ids=frozenset(own["patient_id"]) - {""},
        paths=tuple(own["relative_path"]),
    )


def traces(results: Results, patient: Patient) -> list[Trace]:
    """Return the files of the results folder that hold something of the patient, in order of path.

    Those are files that name one of the patient's keys, files of which the patient's images are
    part (slice store, predictions, pictures, report), and every model, the baselines' too, that was
    trained or chosen on them. Each trial of the leakage experiment has a split of its own.
    """
    found: dict[Path, str] = {}
    subsets = {
        split.parent.relative_to(results.folder): _subsets(split, patient.keys)
        for split in results.folder.rglob("split.csv")
    }
    in_images = any(subsets.values())
    for path in sorted(path for path in results.folder.rglob("*") if path.is_file()):
        relative = path.relative_to(results.folder)
        own = subsets.get(_split_folder(relative), _ALL_SUBSETS)
        if relative == SOURCE or path.name == _LOCK:
            continue
        if patient.key in relative.parts:
            found[path] = "a de-identified image"
        elif _MODELS & set(relative.parts) or relative.match("model*.json"):
            if own & {"train", "validation"}:
                found[path] = "a model trained on the patient"
        elif "predictions" in relative.parts and own & {"validation", "test"}:
            found[path] = "predictions, the patient's among them"
        elif path.suffix in _MADE_FROM_ALL:
            if in_images or path.suffix == ".html":
                found[path] = "made from all patients, this one among them"
        elif lines := _mentions(path, patient.keys):
            found[path] = f"{lines} rows" if path.suffix in (".csv", ".parquet") else "names a key"
    return [Trace(path, what) for path, what in found.items()]


def _subsets(split: Path, keys: frozenset[str]) -> frozenset[str]:
    """Return the subsets of a split in which the images with these keys are."""
    rows = schemas.read(schemas.SPLIT, split)
    return frozenset(rows["subset"][rows["image_key"].isin(keys)])


def _split_folder(relative: Path) -> Path:
    """Return where the split of a file of the results lies, below the results folder."""
    parts = relative.parts[1:] if relative.parts[0] == "checkpoints" else relative.parts
    return Path(*parts[:3]) if parts[0] == "leakage" else SOURCE.parent


def _mentions(path: Path, keys: frozenset[str]) -> int:
    """Return how many rows of a table, or lines of a text, name one of the keys."""
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        named = [frame[name].isin(keys) for name in frame.columns if name.endswith("_key")]
        return int(pd.concat(named, axis=1).any(axis=1).sum()) if named else 0
    names = {key.encode() for key in keys}
    return sum(not names.isdisjoint(_KEY.findall(line)) for line in path.read_bytes().split(b"\n"))


def private_traces(private: PrivateCohort, folder: Path, patient: Patient) -> list[Trace]:
    """Return the private files that hold something of the patient."""
    found = [Trace(private.map_path, f"{len(patient.paths)} rows")]
    for path in _values(private):
        rows = schemas.read(schemas.IDENTIFYING, path)["patient_key"].eq(patient.key)
        found.append(Trace(path, f"{rows.sum()} rows"))
    for path, number in _cached(folder, patient.paths):
        found.append(Trace(path, f"{number} files"))
    for path, what, names in (
        (private.id_match_path, "the hospital ID", patient.hospital_ids),
        (private.annotation_match_path, "paths", patient.paths),
    ):
        if path.exists() and any(name in path.read_text(encoding="utf-8") for name in names):
            found.append(Trace(path, what))
    return found


def dvc_objects(found: Sequence[Trace], dicom: Path, patient: Patient) -> list[Path]:
    """Return the objects of DVC's cache that are copies of the patient's files.

    Parameters
    ----------
    found : sequence of Trace
    dicom : Path
        The cohort's ``dicom/``, in which the patient's original files are.
    patient : Patient

    Returns
    -------
    list of Path
        Empty where DVC has no cache.
    """
    here = Path.cwd()
    if not any((folder / ".dvc").is_dir() for folder in (here, *here.parents)):
        return []
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no user's text
    cache = Path(asked.stdout.strip()) / "files" / "md5"
    if asked.returncode or not cache.is_dir():
        return []
    files = [*(trace.path for trace in found), *(dicom / native(path) for path in patient.paths)]
    digests = {_md5(path) for path in files if path.is_file()}
    objects = (cache / digest[:2] / digest[2:] for digest in digests)
    return sorted(path for path in objects if path.exists())


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _values(private: PrivateCohort) -> list[Path]:
    """Return the tables of identifying values: of ingestion and of de-identification."""
    paths = (private.identifying_path, private.identifying_path.with_name(schemas.DROPPED_NAME))
    return [path for path in paths if path.exists()]


def _cached(folder: Path, paths: Sequence[str]) -> Iterator[tuple[Path, int]]:
    for path in sorted(folder.glob("ingest-*.sqlite")):
        with open_cache(path) as cache:
            number = cache.count(paths)
        if number:
            yield path, number


def withdraw(
    results: Results, private: PrivateCohort, folder: Path, patient: Patient, day: date
) -> None:
    """Record the withdrawal, then remove every trace.

    The record comes first: if anything is interrupted, the patient still does not come back.

    Parameters
    ----------
    results : Results
    private : PrivateCohort
    folder : Path
        The folder of the config key ``private``.
    patient : Patient
    day : date
        Of the withdrawal.
    """
    found = traces(results, patient)
    _record(private, patient.key, day)
    for trace in found:
        trace.path.unlink()
    shutil.rmtree(results.folder / "deidentified" / patient.key, ignore_errors=True)
    identities = private.read_map()
    _rewrite(private.map_path, identities[~identities["file_key"].isin(patient.keys)])
    for path in _values(private):
        values = schemas.read(schemas.IDENTIFYING, path)
        own = values["patient_key"] == patient.key
        # Values of the cohort's tables and paths have no key; the next ingestion writes them again.
        named = "\n".join((*values["value"][own], *patient.paths))
        same = (values["patient_key"] == "") & values["value"].map(named.__contains__)
        _rewrite(path, values[~own & ~same])
    for path, _ in _cached(folder, patient.paths):
        with open_cache(path) as cache:
            cache.forget(patient.paths)
    private.id_match_path.unlink(missing_ok=True)
    private.annotation_match_path.unlink(missing_ok=True)


def _record(private: PrivateCohort, key: str, day: date) -> None:
    path = private.withdrawn_path
    rows = pd.read_csv(path, dtype=str) if path.exists() else pd.DataFrame()
    added = pd.concat([rows, pd.DataFrame({"patient_key": [key], "date": [day.isoformat()]})])
    with whole(path) as temporary:
        temporary.touch(mode=0o600)
        added.drop_duplicates("patient_key").to_csv(temporary, index=False)


def _rewrite(path: Path, frame: pd.DataFrame) -> None:
    (write_parquet if path.suffix == ".parquet" else write_csv)(path, frame)
    path.chmod(0o600)
