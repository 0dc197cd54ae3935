"""The ingestion step: a folder of files in, one row per file out."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.config import Ingest
from dsnet.dicom import reader
from dsnet.dicom.pixels import Thresholds
from dsnet.dicom.reader import Facts
from dsnet.dicom.scan import Found, scan
from dsnet.errors import UserError
from dsnet.files import write_json
from dsnet.ingest.cache import Cache, open_cache
from dsnet.ingest.index import identifying_values, tables
from dsnet.ingest.other_files import values_beside
from dsnet.ingest.source import check_source, stamp
from dsnet.ingest.workers import read_all
from dsnet.pseudonym import open_vault


def ingest(*, params: Ingest, cohort: Path, private: Path, index: Path, source: Path) -> None:
    """Read every file below the cohort's ``dicom/`` and write one row for each.

    Files that have not changed since the last run, by size and time, are not opened again.

    Parameters
    ----------
    params : Ingest
    cohort : Path
        The cohort folder, which is only read.
    private : Path
        The folder of the config key ``private``: the key, the map back and the cache go there.
    index : Path
        Written: `schemas.INDEX`.
    source : Path
        Written: whose results these are (`dsnet.ingest.source`), and how many files and bytes.

    Raises
    ------
    UserError
        If there is no file, or `source` says that the results are another cohort's or key's.
    """
    folder = CohortFolder(cohort)
    check_source(source, folder, private)
    files = _files(folder)
    vault = open_vault(private, folder, create=True)
    vault.folder.chmod(0o700)
    thresholds = Thresholds(params.metal_hu, params.cement_hu)
    with open_cache(vault.cache_path, f"{reader.version()} {thresholds}") as cache:
        facts = _facts(files, thresholds, cache, params.processes)
    rows, identities = tables(files, facts, vault)
    schemas.write(schemas.MAP, identities, vault.map_path)
    vault.map_path.chmod(0o600)
    met = identifying_values(files, facts, identities, values_beside(folder, facts))
    schemas.write(schemas.IDENTIFYING, met, vault.identifying_path)
    vault.identifying_path.chmod(0o600)
    schemas.write(schemas.INDEX, rows, index)
    write_json(
        source,
        {
            **stamp(folder, vault),
            "files": len(files),
            "bytes": sum(file.size for file in files),
            "readable": int(rows["readable"].sum()),
            "decoded": int(rows["decoded"].sum()),
        },
    )


def _files(folder: CohortFolder) -> list[Found]:
    files = scan(folder.dicom) if folder.dicom.is_dir() else []
    if not files:
        raise UserError(
            "cohort folder",
            expected="DICOM files in its folder dicom/",
            came="none" if folder.dicom.is_dir() else "no such folder",
            remedy="put them there, or set the config key cohort to another folder",
        )
    return files


def _facts(
    files: Sequence[Found], thresholds: Thresholds, cache: Cache, processes: int
) -> dict[str, Facts]:
    """Return the facts of all files; only what the cache does not know is opened."""
    cache.keep_only(files)
    facts = cache.known(files)
    new = [file for file in files if file.relative not in facts]
    with _progress() as progress:
        task = progress.add_task("reading files", total=len(files), completed=len(facts))
        for part in read_all(new, thresholds, processes):
            cache.add(part)
            facts.update((file.relative, one) for file, one in part)
            progress.advance(task, len(part))
    return facts


def _progress() -> Progress:
    """Return a progress bar on the terminal; in a log it would be noise."""
    return Progress(
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
