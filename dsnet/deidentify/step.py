"""The de-identification step: every included slice as a DICOM file without identity."""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pydicom
from pandera.pandas import DataFrameSchema
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.config.output import Deidentify, Ocr
from dsnet.deidentify.pixel_data import (
    LETTERS,
    Reason,
    has_letters_outside_body,
    ocr_engine,
    refusal,
    shows_text,
)
from dsnet.deidentify.profile import FormError, Keys, Secret, remove_identity, texts
from dsnet.dicom import header
from dsnet.dicom.identifying import Value
from dsnet.dicom.pixels import PixelError, PixelHash, decode
from dsnet.dicom.reader import quiet
from dsnet.dicom.scan import native
from dsnet.errors import UserError
from dsnet.files import sha256, whole
from dsnet.processes import cpus, each_result
from dsnet.results import Results
from dsnet.step import run

_FEW = 20
_CHUNK = 16


class Task(NamedTuple):
    """One slice: its pseudonyms, its file and the file to write."""

    keys: Keys
    file_key: str
    pixel_hash: str
    source: str
    target: str


class Written(NamedTuple):
    """The SHA-256 of the file written for a slice and its flag, or why there is none.

    `removed` is what the original held and the file does not.
    """

    task: Task
    sha256: str = ""
    flag: str = ""
    reason: Reason | None = None
    removed: frozenset[Value] = frozenset()


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

    Prints how many were written, flagged and refused, and whether pixels were read. Files that an
    earlier run wrote there and this one does not are removed.

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
    if deidentify.ocr != "none":
        ocr_engine()  # where it is not installed, before anything is written
    rows = schemas.read(schemas.LEDGER, ledger)
    paths = known.read_map()[["file_key", "relative_path", "pixel_hash"]]
    tasks = _tasks(rows, paths, CohortFolder(cohort).dicom, files.parent)
    work = partial(_write_chunk, secret=Secret(known.key), ocr=deidentify.ocr)
    kept: list[tuple[str, ...]] = []
    out: list[tuple[str, ...]] = []
    removed: set[tuple[str, ...]] = set()
    targets: set[str] = set()
    chunks = [tasks[start : start + _CHUNK] for start in range(0, len(tasks), _CHUNK)]
    processes = 1 if len(tasks) <= _FEW else deidentify.processes or cpus()
    done = each_result(work, chunks, processes, "writing slices")
    for written in chain.from_iterable(done):
        keys = written.task.keys
        if written.reason:
            out.append((keys.image, written.task.file_key, written.reason))
        else:
            kept.append((keys.image, written.sha256, written.flag))
            targets.add(written.task.target)
        removed.update((text, kind, form, keys.patient) for kind, form, text in written.removed)
    _remove_stale(files.parent, targets)
    schemas.write(schemas.DEIDENTIFIED, _frame(schemas.DEIDENTIFIED, kept), files)
    schemas.write(schemas.REFUSED, _frame(schemas.REFUSED, out), refused)
    dropped = known.identifying_path.with_name(schemas.DROPPED_NAME)
    schemas.write(schemas.IDENTIFYING, _frame(schemas.IDENTIFYING, removed), dropped)
    dropped.chmod(0o600)
    print(summary(files, refused, deidentify.ocr))


def summary(files: Path, refused: Path, ocr: Ocr) -> str:
    """Return what people should read when a folder has been written.

    Parameters
    ----------
    files, refused : Path
        As `write_deidentified` wrote them.
    ocr : {"none", "flagged", "all"}
        The config key ``deidentify.ocr``.
    """
    written = schemas.read(schemas.DEIDENTIFIED, files)
    flagged = int((written["flag"] != "").sum())
    pixels = {
        "none": "Pixels were not read: names burned into them are still there "
        "(deidentify.ocr reads them).",
        "flagged": "Only the pixels of flagged slices were read by OCR.",
        "all": "OCR read the pixels of every slice; it may overlook letters.",
    }
    reasons = schemas.read(schemas.REFUSED, refused)["reason"].value_counts()
    listed = "".join(f"\n  {count} refused: {reason}" for reason, count in reasons.items())
    return (
        f"{files.parent}: {len(written)} slices written (files.csv), {flagged} of them flagged "
        f"({LETTERS}: look at them), {reasons.sum()} refused (refused.csv). {pixels[ocr]}{listed}"
    )


def _frame(schema: DataFrameSchema, rows: Iterable[tuple[str, ...]]) -> pd.DataFrame:
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


def _write_chunk(chunk: Sequence[Task], secret: Secret, ocr: Ocr) -> list[Written]:
    """Write a few slices; what was removed is returned once, since slices share most of it."""
    written, removed = [], set[tuple[str, Value]]()
    for task in chunk:
        one = write_slice(task, secret, ocr)
        new = frozenset(text for text in one.removed if (task.keys.patient, text) not in removed)
        removed.update((task.keys.patient, text) for text in new)
        written.append(one._replace(removed=new))
    return written


def write_slice(task: Task, secret: Secret, ocr: Ocr = "none") -> Written:
    """Write one slice without identity, in its own transfer syntax; print nothing."""
    target = Path(task.target)
    with quiet():
        try:
            dataset = pydicom.dcmread(task.source, force=True)
            reason, flag = _look_at(dataset, task.pixel_hash, ocr)
            if reason is not None:
                return Written(task, reason=reason)
            before = texts(dataset)
            remove_identity(dataset, task.keys, secret)
            removed = frozenset(before - texts(dataset))
            with whole(target) as temporary:
                dataset.save_as(temporary, enforce_file_format=True)
        except FormError:
            return Written(task, reason=Reason.FORM)
        except (*header.CONVERSION_ERRORS, PixelError):  # no longer what ingestion read, or odd
            return Written(task, reason=Reason.UNREADABLE)
    return Written(task, sha256(target), flag, removed=removed)


def _look_at(dataset: Dataset, pixel_hash: str, ocr: Ocr) -> tuple[Reason | None, str]:
    """Return why a slice is refused, or None, and its flag."""
    reason, facts = refusal(dataset), header.read(dataset)
    if reason is None and facts.sop_class != CTImageStorage.name:
        reason = Reason.FORM
    if reason is not None:
        return reason, ""
    frames = list(decode(dataset))
    digest = PixelHash(facts)
    for frame in frames:
        digest.add(frame)
    if len(frames) > 1 or digest.hexdigest() != pixel_hash:
        return Reason.CHANGED, ""
    hu = frames[0].stored * facts.slope + facts.intercept
    flag = LETTERS if has_letters_outside_body(hu) else ""
    if (ocr == "all" or (ocr == "flagged" and flag)) and shows_text(hu):
        return Reason.TEXT, ""
    return None, flag


def _remove_stale(out: Path, kept: set[str]) -> None:
    """Remove what an earlier run wrote; other files in the folder stay."""
    for path in out.glob("P-*/S-*/I-*.dcm"):
        if str(path) not in kept:
            path.unlink()
    for folder in (*out.glob("P-*/S-*"), *out.glob("P-*")):
        if not any(folder.iterdir()):
            folder.rmdir()


if __name__ == "__main__":
    run(write_deidentified)
