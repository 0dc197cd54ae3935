"""The ingestion step: a folder of files in, one row per file out.

With ``ingest.shards``, `dsnet.ingest.shard` has read the files before, on several nodes.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from pyarrow import default_memory_pool
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from dsnet import __version__, schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Ingest
from dsnet.dicom import reader
from dsnet.dicom.evidence import Thresholds
from dsnet.dicom.reader import Limits
from dsnet.dicom.scan import ScannedFile, scan
from dsnet.errors import UserError
from dsnet.files import sha256, write_json, write_spreadsheet_csv
from dsnet.ingest.cache import Cache, open_cache
from dsnet.ingest.index import (
    ARRANGED_BY,
    AT_A_TIME,
    arrange,
    identifying_values,
    replaced_kernels,
    rows_of,
)
from dsnet.ingest.other_files import NotSearched, values_beside
from dsnet.ingest.workers import read_all
from dsnet.private import PrivateCohort, image_marks
from dsnet.results import Source, identify
from dsnet.step import run

_NAMED = 3
"""Files that a sentence names."""


def ingest(*, ingest: Ingest, cohort: Path, private: Path, index: Path, source: Path) -> None:
    """Read every file below the cohort's ``dicom/`` and write one row for each.

    Files that have not changed since the last run, by size and time, are not opened again.

    Parameters
    ----------
    ingest : Ingest
    cohort : Path
        The cohort folder, which is only read.
    private : Path
        The folder of the config key ``private``: key, map and cache go there.
    index : Path
        Written: `schemas.INDEX`.
    source : Path
        Written: whose results these are (`dsnet.results.Source`).

    Raises
    ------
    UserError
        If there is no file, if the results are another cohort's or key's, or, when all is written,
        if too many files have unexpected content.
    """
    folder = CohortFolder(cohort)
    files = cohort_files(folder)
    settings = cache_settings(ingest)
    with open_cache(cache_path(private, cohort), settings) as cache:
        for path in filter(Path.exists, shard_paths(private, cohort, ingest.shards)):
            with open_cache(path, settings) as shard:
                cache.take_over(shard)
            path.unlink()  # identities stay in one place
        read_new(files, cache, ingest)
        size_bytes = sum(file.size for file in files)
        del files  # of a million files a third of a gigabyte; facts and tables are more
        facts = cache.facts((*ARRANGED_BY, "sop_instance_uid"))
        known = identify(
            source.parents[1],
            private,
            marks=image_marks(facts["sop_instance_uid"], facts["pixel_hash"]),
            uids=facts.loc[facts["readable"], "sop_instance_uid"],
            phantom_seed=folder.phantom_seed,
        )
        arranged = arrange(facts, known)
        del facts
        default_memory_pool().release_unused()
        rows, kernels = _write_rows(cache, arranged, known, index)
        cache.remove(arranged.loc[arranged["withdrawn"], "relative_path"].tolist())
        kept = arranged.loc[~arranged["withdrawn"], ["path_rank", "relative_path", "patient_key"]]
        del arranged
        kept = kept.sort_values("path_rank")
        of_headers = cache.identifying(kept["patient_key"])
    beside = values_beside(folder, kept["relative_path"])
    with schemas.writing(schemas.IDENTIFYING, known.identifying_path, mode=0o600) as add:
        for met in identifying_values(of_headers, kernels, beside.values):
            add(met)
    not_searched = pd.DataFrame(beside.not_searched, columns=list(NotSearched._fields))
    _write_if_any(not_searched, known.folder / "not_searched.csv")
    _write_if_any(replaced_kernels(kernels["kernel"], known), known.folder / "kernels.csv")
    stamp = Source(
        cohort_id=known.cohort_id,
        key=known.fingerprint,
        name=folder.name,
        note=folder.note,
        synthetic=folder.synthetic,
        phantom_seed=folder.phantom_seed if known.public else None,
        files=len(rows),
        bytes=size_bytes,
        readable=int(rows["readable"].sum()),
        decoded=int(rows["decoded"].sum()),
        unexpected=int((rows["fault"] == "unexpected_content").sum()),
        not_searched=dict(sorted(Counter(file.kind for file in beside.not_searched).items())),
        index_sha256=sha256(index),
    )
    write_json(source, stamp.to_json())
    for sentence in recurring(rows):
        print(sentence, file=sys.stderr)
    check_unexpected(rows, ingest.max_unexpected)


def _write_rows(
    cache: Cache, arranged: pd.DataFrame, known: PrivateCohort, index: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write index and map, some rows at a time.

    Returns
    -------
    rows : pandas.DataFrame
        Some columns of the index.
    kernels : pandas.DataFrame
        As `identifying_values` takes it.
    """
    names = ["file_key", "readable", "decoded", "fault", "fault_class", "fault_frame"]
    narrow, kernels = [], []
    with (
        schemas.writing(schemas.INDEX, index) as add_rows,
        schemas.writing(schemas.MAP, known.map_path, mode=0o600) as add_identities,
    ):
        for start in range(0, len(arranged), AT_A_TIME):
            some = arranged.iloc[start : start + AT_A_TIME]
            facts = cache.facts(relatives=some["relative_path"])
            rows, identities = rows_of(facts, some, known)
            add_identities(identities)
            add_rows(rows)
            narrow.append(rows[names])
            of_patients = facts[["kernel"]].astype(str)
            of_patients["patient_key"] = some["patient_key"].to_numpy(str)
            kernels.append(of_patients[~some["withdrawn"].to_numpy()].drop_duplicates())
    return pd.concat(narrow), pd.concat(kernels)


def _write_if_any(frame: pd.DataFrame, path: Path) -> None:
    """Write a private table, mode 600, if it has rows; else delete that of an earlier run."""
    path.unlink(missing_ok=True)
    if len(frame):
        write_spreadsheet_csv(path, frame, mode=0o600)


def cache_path(private: Path, cohort: Path) -> Path:
    """Return where the facts of the files below a path are kept; a cohort that moved is read again.

    By path, since whose files they are is known only when they have been read. Symbolic links are
    not followed: they may lead to another folder on each node.
    """
    private.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = hashlib.sha256(str(cohort.absolute()).encode("utf-8", "surrogateescape")).hexdigest()
    return private / f"ingest-{name[:16]}.sqlite"


def shard_paths(private: Path, cohort: Path, shards: int) -> list[Path]:
    """Return where each shard keeps the facts that it read, until they are taken over."""
    whole = cache_path(private, cohort)
    return [whole.with_suffix(f".shard{number}.sqlite") for number in range(shards)]


def cache_settings(ingest: Ingest) -> str:
    """Return what besides a file decides its facts."""
    return f"{reader.version()} {_thresholds(ingest)}"


def _thresholds(ingest: Ingest) -> Thresholds:
    return Thresholds(ingest.metal_hu, ingest.cement_hu)


def cohort_files(folder: CohortFolder) -> list[ScannedFile]:
    """Return the files of a cohort, in their order.

    Raises
    ------
    UserError
        If there is none.
    """
    files = scan(folder.dicom) if folder.dicom.is_dir() else []
    if not files:
        raise UserError(
            "cohort folder",
            expected="DICOM files in its folder dicom/",
            came="none" if folder.dicom.is_dir() else "no such folder",
            remedy="put them there, or set the config key cohort to another folder",
        )
    return files


def read_new(files: Sequence[ScannedFile], cache: Cache, params: Ingest) -> None:
    """Bring the cache up to date; only files that it does not know are opened."""
    cache.keep_only({file.relative for file in files})
    new = cache.unread(files)
    limits = Limits(params.max_seconds, params.max_memory_mb << 20, params.max_decoded_mb << 20)
    with progress_bar() as progress:
        task = progress.add_task("reading files", total=len(files), completed=len(files) - len(new))
        for chunk in read_all(new, _thresholds(params), limits, params.processes):
            cache.add(chunk)
            progress.advance(task, len(chunk))


def progress_bar() -> Progress:
    """Return a progress bar on the terminal; in a log it would be noise."""
    return Progress(
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def recurring(index: pd.DataFrame) -> list[str]:
    """Return a sentence for each exception that several files raised in the same frame.

    One odd file raises an exception of its own; the same one from several files is more likely a
    fault of the program.

    Parameters
    ----------
    index : DataFrame
        `dsnet.schemas.INDEX`.
    """
    unexpected = index[index["fault"] == "unexpected_content"]
    sentences = []
    for (name, frame), files in unexpected.groupby(["fault_class", "fault_frame"]):
        if len(files) > 1:
            named = ", ".join(files["file_key"].iloc[:_NAMED])
            more = ", ..." if len(files) > _NAMED else ""
            sentences.append(
                f"{len(files)} files ({named}{more}) raised {name} in {frame}: this looks like a "
                f"fault of the program. Report class and frame with the versions "
                f"(dsnet {__version__}, pydicom {version('pydicom')}), never the files: they "
                f"hold patients' data."
            )
    return sentences


def check_unexpected(index: pd.DataFrame, most: float) -> None:
    """Stop if too many files have unexpected content; called when all rows are written.

    Parameters
    ----------
    index : DataFrame
        `dsnet.schemas.INDEX`.
    most : float
        The config key ``ingest.max_unexpected``, a share of the files.

    Raises
    ------
    UserError
    """
    unexpected = index[index["fault"] == "unexpected_content"]
    if len(unexpected) <= most * len(index):
        return
    kinds = unexpected["fault_class"] + " in " + unexpected["fault_frame"]
    most_often = kinds.value_counts()
    raise UserError(
        "index.parquet",
        expected=f"at most {most:.2%} of the files with unexpected content",
        came=f"{len(unexpected)} of {len(index)}, most often "
        f"{most_often.index[0]} ({most_often.iloc[0]} files)",
        remedy="look at the rows with the fault unexpected_content, report the exception, and take "
        "the files out of dicom/ or raise ingest.max_unexpected",
    )


if __name__ == "__main__":
    run(ingest)
