"""Withdrawal of consent: everywhere a patient stands, and its removal.

What was computed with the patient is deleted, and made again without; a record by key stays in the
private folder, by which ingestion leaves the patient's files out if they come again (criterion
``withdrawn``). The cohort folder belongs to the hospital and is never written.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

from dsnet import schemas
from dsnet.audit.lookup import patient_rows
from dsnet.files import whole, write_csv, write_parquet
from dsnet.ingest.cache import open_cache
from dsnet.private import PrivateCohort
from dsnet.results import SOURCE, Results

_MADE_FROM_ALL = (".html", ".png", ".svg", ".npy", ".md")
"""Files that show or sum up all patients without naming one."""


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
    trained : frozenset of str
        Subsets of the split in which the patient's images are.
    """

    key: str
    keys: frozenset[str]
    hospital_ids: frozenset[str]
    paths: tuple[str, ...]
    trained: frozenset[str]


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
    split = results.cohort / "split.csv"
    subsets = schemas.read(schemas.SPLIT, split) if split.exists() else None
    mine = set() if subsets is None else set(subsets["subset"][subsets["image_key"].isin(keys)])
    return Patient(
        key=str(rows["patient_key"].iloc[0]),
        keys=keys,
        hospital_ids=frozenset(own["patient_id"]) - {""},
        paths=tuple(own["relative_path"]),
        trained=frozenset(mine),
    )


def traces(results: Results, patient: Patient) -> list[Trace]:
    """Return the files of the results folder that hold something of the patient, in order of path.

    Those are files that name one of the patient's keys, files of which the patient's images are
    part (slice store, pictures, report), and every model that was trained or chosen on them.
    """
    found: dict[Path, str] = {}
    trained = bool(patient.trained & {"train", "validation"})
    for path in sorted(path for path in results.folder.rglob("*") if path.is_file()):
        relative = path.relative_to(results.folder)
        if relative == SOURCE:
            continue
        if patient.key in relative.parts:
            found[path] = "a de-identified image"
        elif relative.parts[0] in ("models", "checkpoints") or "models" in relative.parts:
            if trained:
                found[path] = "a model trained on the patient"
        elif path.suffix in _MADE_FROM_ALL:
            if patient.trained or path.suffix == ".html":
                found[path] = "made from all patients, this one among them"
        elif rows := _mentions(path, patient.keys):
            found[path] = f"{rows} rows"
    return [Trace(path, what) for path, what in found.items()]


def _mentions(path: Path, keys: frozenset[str]) -> int:
    """Return how often a table or text names one of the keys."""
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        named = [frame[name].isin(keys) for name in frame.columns if name.endswith("_key")]
        return int(pd.concat(named, axis=1).any(axis=1).sum()) if named else 0
    content = path.read_bytes()
    return sum(content.count(key.encode()) for key in keys)


def private_traces(private: PrivateCohort, folder: Path, patient: Patient) -> list[Trace]:
    """Return the private files that hold something of the patient."""
    found = [Trace(private.map_path, f"{len(patient.paths)} rows")]
    values = schemas.read(schemas.IDENTIFYING, private.identifying_path)
    found.append(
        Trace(private.identifying_path, f"{(values['patient_key'] == patient.key).sum()} rows")
    )
    for path, number in _cached(folder, patient.paths):
        found.append(Trace(path, f"{number} files"))
    for path, what, names in (
        (private.id_match_path, "the hospital ID", patient.hospital_ids),
        (private.annotation_match_path, "paths", patient.paths),
    ):
        if path.exists() and any(name in path.read_text(encoding="utf-8") for name in names):
            found.append(Trace(path, what))
    return found


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

    The record comes first: whatever is interrupted, the patient does not come back.

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
    values = schemas.read(schemas.IDENTIFYING, private.identifying_path)
    _rewrite(private.identifying_path, values[values["patient_key"] != patient.key])
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
