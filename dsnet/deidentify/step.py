"""The de-identification step: every included slice as a DICOM file without identity."""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pydicom
from pandera.pandas import DataFrameSchema
from rich.progress import track

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.config.output import Deidentify
from dsnet.deidentify.burned_in import Reason, refusal
from dsnet.deidentify.profile import Keys, Secret, remove_identity
from dsnet.dicom import header
from dsnet.dicom.pixels import PixelError, pixel_hash
from dsnet.dicom.reader import quiet
from dsnet.dicom.scan import native
from dsnet.errors import UserError
from dsnet.files import sha256, whole
from dsnet.processes import cpus, open_pool
from dsnet.results import Results
from dsnet.step import run

_FEW = 20
_CHUNK = 16
_UNWRITABLE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
)
"""What pydicom raises for a file that is no longer what ingestion read, or that it cannot write."""


class Task(NamedTuple):
    """One slice: its pseudonyms, its file and the file to write."""

    keys: Keys
    file_key: str
    pixel_hash: str
    source: str
    target: str


class Written(NamedTuple):
    """The SHA-256 of the file written for a slice, or why there is none."""

    task: Task
    sha256: str
    reason: Reason | None


def write_deidentified(
    *,
    deidentify: Deidentify,
    cohort: Path,
    private: Path,
    source: Path,
    ledger: Path,
    files: Path,
    refused: Path,
) -> None:
    """Write the included slices below the folder of `files`, by patient, series and image key.

    Files that an earlier run wrote there and this one does not are removed.

    Parameters
    ----------
    deidentify : Deidentify
    cohort : Path
        The cohort folder, whose DICOM files are read.
    private : Path
        The folder of the config key ``private``: its key determines UIDs and shifts, its map leads
        to the files.
    source, ledger : Path
        Whose results these are, and `schemas.LEDGER`.
    files : Path
        Written: `schemas.DEIDENTIFIED`.
    refused : Path
        Written: `schemas.REFUSED`, one row for each included slice that may show text, or whose
        pixels are not those that were ingested.

    Raises
    ------
    UserError
        If the ledger names a file that the private map lacks.
    """
    known = Results(source.parents[1]).private(private, cohort)
    rows = schemas.read(schemas.LEDGER, ledger)
    paths = known.read_map()[["file_key", "relative_path", "pixel_hash"]]
    tasks = _tasks(rows, paths, CohortFolder(cohort).dicom, files.parent)
    outcomes = list(
        _progress(_written(tasks, Secret(known.key), deidentify.processes or cpus()), tasks)
    )
    _remove_stale(files.parent, {task.target for task, digest, _ in outcomes if digest})
    kept = [(task.keys.image, digest) for task, digest, _ in outcomes if digest]
    out = [(task.keys.image, task.file_key, reason) for task, _, reason in outcomes if reason]
    schemas.write(schemas.DEIDENTIFIED, _frame(schemas.DEIDENTIFIED, kept), files)
    schemas.write(schemas.REFUSED, _frame(schemas.REFUSED, out), refused)


def _frame(schema: DataFrameSchema, rows: Sequence[tuple[str, ...]]) -> pd.DataFrame:
    return pd.DataFrame(sorted(rows), columns=list(schema.columns), dtype=str)


def _tasks(rows: pd.DataFrame, paths: pd.DataFrame, dicom: Path, out: Path) -> list[Task]:
    included = rows[rows["status"] == "included"].merge(paths, on="file_key", how="left")
    unknown = included["relative_path"].isna()
    if unknown.any():
        raise UserError(
            f"ledger.csv ({included.loc[unknown, 'file_key'].iloc[0]})",
            expected="files that the private map knows",
            came=f"{int(unknown.sum())} that it does not",
            remedy="run the workflow again, so that both come from the same files",
        )
    return [
        Task(
            Keys(row["patient_key"], row["series_key"], row["image_key"]),
            row["file_key"],
            row["pixel_hash"],
            str(dicom / native(row["relative_path"])),
            str(out / row["patient_key"] / row["series_key"] / f"{row['image_key']}.dcm"),
        )
        for row in included.to_dict("records")
    ]


def _written(tasks: Sequence[Task], secret: Secret, processes: int) -> Iterator[Written]:
    chunks = [tasks[start : start + _CHUNK] for start in range(0, len(tasks), _CHUNK)]
    work = partial(_write_chunk, secret=secret)
    if processes == 1 or len(tasks) <= _FEW:
        for chunk in chunks:
            yield from work(chunk)
        return
    with open_pool(processes) as pool:
        for written in pool.map(work, chunks):
            yield from written


def _write_chunk(chunk: Sequence[Task], secret: Secret) -> list[Written]:
    return [write_slice(task, secret) for task in chunk]


def write_slice(task: Task, secret: Secret) -> Written:
    """Write one slice without identity, in its own transfer syntax; print nothing."""
    target = Path(task.target)
    with quiet():
        try:
            dataset = pydicom.dcmread(task.source, force=True)
            reason = refusal(dataset)
            if reason is not None:
                return Written(task, "", reason)
            if pixel_hash(dataset, header.read(dataset)) != task.pixel_hash:
                return Written(task, "", Reason.CHANGED)
            remove_identity(dataset, task.keys, secret)
            with whole(target) as temporary:
                dataset.save_as(temporary, enforce_file_format=True)
        except (*_UNWRITABLE, PixelError):
            return Written(task, "", Reason.UNREADABLE)
    return Written(task, sha256(target), None)


def _remove_stale(out: Path, kept: set[str]) -> None:
    """Remove what an earlier run wrote; other files in the folder stay."""
    for path in out.glob("P-*/S-*/I-*.dcm"):
        if str(path) not in kept:
            path.unlink()
    for folder in (*out.glob("P-*/S-*"), *out.glob("P-*")):
        if not any(folder.iterdir()):
            folder.rmdir()


def _progress(written: Iterator[Written], tasks: Sequence[Task]) -> Iterator[Written]:
    """Show a progress bar on the terminal; in a log it would be noise."""
    yield from track(written, "writing slices", len(tasks), disable=not sys.stderr.isatty())


if __name__ == "__main__":
    run(write_deidentified)
