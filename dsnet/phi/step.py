"""Searching folders for identifying values: write what was searched and the hits, fail on a hit."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from dsnet import schemas
from dsnet.config import EXTERNAL
from dsnet.config.output import PhiCheck
from dsnet.errors import UserError
from dsnet.files import write_json
from dsnet.phi.search import (
    Hit,
    SearchResult,
    Source,
    matcher_of,
    ranges,
    search_file,
)
from dsnet.processes import cpus, each_result
from dsnet.results import SOURCE, Results, read_source
from dsnet.step import run

ALLOWED = "phi_allow.txt"
"""In the private folder: values that the user has reviewed and allows, one a line."""

_NOT_SEARCHED = ("conda", "conda-archive", "locks", "singularity")
"""Below ``.snakemake``: installed software."""

NOT_SEARCHED = (
    "pixels: text burned into images, and images of documents",
    "names in another script or transliteration than in the data, initials, and single letters",
    "numbers of fewer than four digits; of fewer than six within text; of fewer than eight among "
    "raw bytes and in arrays",
    "dates as a count of days or seconds, in Chinese numerals, or in other calendars than the "
    "Gregorian and the Japanese",
    "ages, times of day, and other measurements",
    "base32, base85, EBCDIC, encrypted files, and archives other than zip, tar, gzip, bzip2, xz, "
    "zstd and lz4 (counted in searched_as_raw_bytes_alone)",
    "words of fewer than eight letters that an array of integers spells in UTF-16 or UTF-32",
    "the structure of files over 1 GiB: their bytes are searched",
)
"""The report lists what the search cannot find."""

_FEW = 20
_CHUNK, _CHUNK_BYTES = 8, 1 << 26


class Task(NamedTuple):
    """A file to search, or a range of a large one, and its path in the report."""

    path: Path
    report_path: str
    start: int = 0
    bytes: int = 0


class Summary(NamedTuple):
    """How many values were searched for, in how many files, and how many suspects there are."""

    searched: int
    files: int
    suspects: int


class Finding(NamedTuple):
    """A hit and where it is; the path is private where it is itself identifying."""

    path: str
    hit: Hit


def phi_check(
    *,
    phi_check: PhiCheck,
    private: Path,
    results: Path,
    logs: Path,
    records: Path,
    report: Path,
    external: list[str] | None = None,
) -> None:
    """Search the outputs of the workflow for every identifying value met at ingestion.

    Parameters
    ----------
    phi_check : PhiCheck
    private : Path
        The folder of the config key ``private``, which holds the values.
    results : Path
        The results folder, which is searched and names its cohort.
    logs, records : Path
        More folders to search; one that is missing is no error. `records` is Snakemake's own
        folder.
    report : Path
        Written whether there are hits or not.
    external : list of str, optional
        Names of the external cohorts, whose values are searched for, too.

    Raises
    ------
    UserError
        If there is a hit.
    """
    owner = Results(results)
    check(
        [results, logs, records],
        phi_check,
        owner,
        private=private,
        report=report,
        external=external or (),
    )
    print(unread_sources(owner), end="")


def check(
    folders: Sequence[Path],
    params: PhiCheck,
    results: Results,
    *,
    private: Path,
    report: Path,
    external: Iterable[str] = (),
) -> Summary:
    """Search `folders` for the identities of the cohort of `results`, and write `report`.

    Those of the external cohorts that were ingested are searched for everywhere, too.

    Raises
    ------
    UserError
        If none of the folders exists, one of them holds the results of another cohort, or there is
        a hit, whose values are in the private text.
    """
    begun = time.monotonic()
    if not any(folder.is_dir() for folder in folders):
        raise UserError(
            "phi-check",
            expected="a folder to search",
            came=f"{len(folders)} paths where there is none",
            remedy="name a folder, or run the workflow first",
        )
    others = {
        name: Results(results.folder / EXTERNAL / name)
        for name in external
        if (results.folder / EXTERNAL / name / SOURCE).exists()
    }
    _check_cohort(folders, [results, *others.values()])
    source = _source(results, private)._replace(
        others=tuple(_source(other, private / EXTERNAL / name) for name, other in others.items())
    )
    patterns = matcher_of(source).patterns
    tasks = list(_tasks(folders, private, report))
    files = sum(task.start == 0 for task in tasks)
    result, matches = _search_all(tasks, source, params.processes)
    hits = [finding for finding in matches if not finding.hit.suspect]
    certain = {(path, hit.kind, hit.value) for path, hit in hits}
    suspects = [
        finding
        for finding in matches
        if (finding.path, finding.hit.kind, finding.hit.value) not in certain
    ]
    named = {finding.path for finding in matches if finding.hit.container == "name"}
    write_json(
        report,
        {
            "folders": [folder.name for folder in folders],
            "synthetic": results.source.synthetic,
            "values": sum(patterns.searched.values()),
            "values_by_kind": dict(sorted(patterns.searched.items())),
            "skipped": sum(patterns.skipped.values()),
            "skipped_by_reason": dict(sorted(patterns.skipped.items())),
            "cohort_files_not_read": results.source.not_searched,
            "files": files,
            "bytes": sum(size for kind, size in result.bytes.items() if " > " not in kind),
            "gone_while_searching": result.gone,
            "files_by_container": dict(sorted(result.files.items())),
            "bytes_by_container": dict(sorted(result.bytes.items())),
            "searched_as_raw_bytes_alone": dict(sorted(result.damaged.items())),
            "seconds": round(time.monotonic() - begun, 1),
            "hits": _rows(hits, named),
            "suspects": _rows(suspects, named),
            "not_searched": list(NOT_SEARCHED),
        },
    )
    if hits:
        raise _hits_error(hits, report)
    return Summary(sum(patterns.searched.values()), files, len(suspects))


def unread_sources(results: Results) -> str:
    """Return the line on cohort files whose identities are unknown, or "" where all were read."""
    kinds = results.source.not_searched
    if not kinds:
        return ""
    counts = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
    return (
        f"{sum(kinds.values())} of the cohort's files beside dicom/ could not be read ({counts}), "
        "so their identities were not searched for: see not_searched.csv in the private folder\n"
    )


def _source(results: Results, private: Path) -> Source:
    """Return where the identities of a cohort lie."""
    values = results.private(private).identifying_path
    dropped, index = values.with_name(schemas.DROPPED_NAME), results.cohort / "index.parquet"
    return Source(values, dropped, index, private / ALLOWED)


def _check_cohort(folders: Sequence[Path], known: Sequence[Results]) -> None:
    """Refuse folders that hold results of another cohort, whose identities would be missed."""
    cohort_ids = {results.source.cohort_id for results in known}
    for folder in folders:
        below = (*folder.glob(f"*/{SOURCE}"), *folder.glob(f"{EXTERNAL}/*/{SOURCE}"))
        for source in (folder / SOURCE, *below):
            owner = source.parents[1]
            if source.exists() and read_source(owner).cohort_id not in cohort_ids:
                raise UserError(
                    str(source),
                    expected=f"results of the cohort of {known[0].folder}",
                    came="results of another one",
                    remedy=f"search it with --results {owner}, or name its cohort in the config "
                    "key external",
                )


def _tasks(folders: Sequence[Path], private: Path, report: Path) -> Iterator[Task]:
    """Yield all files except the private folder, the report and installed software."""
    excluded = [private.resolve(), report.resolve()]
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if path.is_symlink() or not path.is_file():
                continue
            if folder.name == ".snakemake" and relative.parts[0] in _NOT_SEARCHED:
                continue
            if not any(path.resolve().is_relative_to(folder) for folder in excluded):
                report_path = f"{folder.name}/{relative.as_posix()}"
                yield from (Task(path, report_path, *part) for part in ranges(path))


def _search_all(
    tasks: Sequence[Task], source: Source, processes: int
) -> tuple[SearchResult, list[Finding]]:
    few = len(tasks) <= _FEW and all(task.start == 0 for task in tasks)
    work, chunks = partial(_search_chunk, source=source), list(_chunks(tasks))
    done = each_result(work, chunks, 1 if few else processes or cpus(), "searching files")
    total, findings = SearchResult(), dict[Finding, None]()
    for task, result in zip(tasks, chain.from_iterable(done), strict=True):
        for counter in ("files", "bytes", "damaged"):
            getattr(total, counter).update(getattr(result, counter))
        total.gone += result.gone
        findings |= {Finding(task.report_path, hit): None for hit in result.hits}
    return total, list(findings)


def _search_chunk(chunk: Sequence[Task], source: Source) -> list[SearchResult]:
    return [search_file(task.path, task.report_path, source, task.start) for task in chunk]


def _chunks(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    """Yield tasks for one process: a few small files, or one large one."""
    chunk: list[Task] = []
    for task in tasks:
        if chunk and (len(chunk) == _CHUNK or sum(t.bytes for t in chunk) >= _CHUNK_BYTES):
            yield chunk
            chunk = []
        chunk.append(task)
    if chunk:
        yield chunk


def _rows(findings: Sequence[Finding], named: set[str]) -> list[dict[str, Any]]:
    """Return findings without their values, and without paths that are themselves identifying."""
    rows = Counter(
        (
            "a path that is itself identifying" if finding.path in named else finding.path,
            finding.hit.container,
            finding.hit.kind,
        )
        for finding in findings
    )
    return [
        {"path": path, "container": container, "kind": kind, "values": count}
        for (path, container, kind), count in sorted(rows.items())
    ]


def _hits_error(findings: Sequence[Finding], report: Path) -> UserError:
    files = len({finding.path for finding in findings})
    values = len({finding.hit.value for finding in findings})
    kinds = ", ".join(sorted({finding.hit.kind for finding in findings})[:5])
    return UserError(
        "phi-check",
        expected="no identifying value in any output",
        came=f"{values} of them ({kinds}) in {files} files",
        remedy=f"look at {report.name}, or at dsnet phi-check --show-private on a terminal, delete "
        "what holds them, and share nothing before",
        private="; ".join(f"{path}: {hit.kind} {hit.value}" for path, hit in findings[:100]),
    )


if __name__ == "__main__":
    run(phi_check)
