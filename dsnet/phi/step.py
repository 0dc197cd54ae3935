"""The self-test's step: search folders, write what was searched and found, fail on a hit."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import track

from dsnet.cohort.folder import CohortFolder
from dsnet.config import PhiCheck
from dsnet.errors import UserError
from dsnet.files import write_json
from dsnet.phi.inspect import Hit, Seen, Source, inspect_file, needles_of
from dsnet.processes import cpus, open_pool
from dsnet.pseudonym import open_vault

ALLOWED = "phi_allow.txt"
"""In the private folder: values that the user has looked at and allows, one a line."""

_NOT_SEARCHED = ("conda", "conda-archive", "locks", "singularity")
"""Below ``.snakemake``: installed software."""

_FEW = 20
_CHUNK = 8


class Task(NamedTuple):
    """A file to search; `shown` is its path in the report."""

    path: Path
    shown: str


class Summary(NamedTuple):
    """How many values were looked for, and in how many files."""

    searched: int
    files: int


class Finding(NamedTuple):
    """A hit and where it is; the path is private where it is itself identifying."""

    path: str
    hit: Hit


def phi_check(
    *,
    params: PhiCheck,
    cohort: Path,
    private: Path,
    index: Path,
    results: Path,
    logs: Path,
    records: Path,
    report: Path,
) -> None:
    """Search the outputs of the workflow for every identifying value met at ingestion.

    Parameters
    ----------
    params : PhiCheck
    cohort, private : Path
        As for the other steps: they lead to the values.
    index : Path
        `schemas.INDEX`, whose kernels are published by intent.
    results, logs, records : Path
        Folders to search; one that is missing is no error. `records` is Snakemake's own folder.
    report : Path
        Written, whatever is found.

    Raises
    ------
    UserError
        If anything was found.
    """
    check(
        [results, logs, records],
        params,
        cohort=cohort,
        private=private,
        index=index,
        report=report,
    )


def check(
    folders: Sequence[Path],
    params: PhiCheck,
    *,
    cohort: Path,
    private: Path,
    index: Path,
    report: Path,
) -> Summary:
    """Search `folders` and write `report`; see `phi_check`.

    Raises
    ------
    UserError
        If none of the folders is there, or anything was found; the private part of the latter
        names the values.
    """
    begun = time.monotonic()
    if not any(folder.is_dir() for folder in folders):
        raise UserError(
            "phi-check",
            expected="a folder to search",
            came=f"{len(folders)} paths where there is none",
            remedy="name a folder, or run the workflow first",
        )
    vault = open_vault(private, CohortFolder(cohort))
    source = Source(str(vault.identifying_path), str(index), str(private / ALLOWED))
    needles = needles_of(source)
    tasks = list(_tasks(folders, private, report))
    seen, findings = _search_all(tasks, source, params.processes)
    write_json(
        report,
        {
            "folders": [folder.name for folder in folders],
            "synthetic": CohortFolder(cohort).synthetic,
            "values": sum(needles.searched.values()),
            "values_by_kind": dict(sorted(needles.searched.items())),
            "skipped": sum(needles.skipped.values()),
            "skipped_by_reason": dict(sorted(needles.skipped.items())),
            "files": len(tasks),
            "bytes": sum(size for kind, size in seen.bytes.items() if " > " not in kind),
            "gone_while_searching": seen.gone,
            "files_by_container": dict(sorted(seen.files.items())),
            "bytes_by_container": dict(sorted(seen.bytes.items())),
            "searched_as_raw_bytes_alone": dict(sorted(seen.damaged.items())),
            "seconds": round(time.monotonic() - begun, 1),
            "hits": _shown(findings),
        },
    )
    if findings:
        raise _found(findings, report)
    return Summary(sum(needles.searched.values()), len(tasks))


def _tasks(folders: Sequence[Path], private: Path, report: Path) -> Iterator[Task]:
    """Yield the files to search: all but the private folder, the report and installed software."""
    closed = [private.resolve(), report.resolve()]
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            if path.is_symlink() or not path.is_file():
                continue
            if folder.name == ".snakemake" and relative.parts[0] in _NOT_SEARCHED:
                continue
            if not any(path.resolve().is_relative_to(place) for place in closed):
                yield Task(path, f"{folder.name}/{relative.as_posix()}")


def _search_all(
    tasks: Sequence[Task], source: Source, processes: int
) -> tuple[Seen, list[Finding]]:
    total, findings = Seen(), []
    for task, seen in _progress(_inspected(tasks, source, processes or cpus()), len(tasks)):
        for counter in ("files", "bytes", "damaged"):
            getattr(total, counter).update(getattr(seen, counter))
        total.gone += seen.gone
        findings += [Finding(task.shown, hit) for hit in seen.hits]
    return total, findings


def _inspected(
    tasks: Sequence[Task], source: Source, processes: int
) -> Iterator[tuple[Task, Seen]]:
    if processes == 1 or len(tasks) <= _FEW:
        for task in tasks:
            yield task, inspect_file(*task, source)
        return
    with open_pool(processes) as pool:
        chunks = [tasks[start : start + _CHUNK] for start in range(0, len(tasks), _CHUNK)]
        futures: list[Future[list[Seen]]] = [
            pool.submit(_inspect_chunk, chunk, source) for chunk in chunks
        ]
        for chunk, future in zip(chunks, futures, strict=True):
            yield from zip(chunk, future.result(), strict=True)


def _inspect_chunk(chunk: Sequence[Task], source: Source) -> list[Seen]:
    return [inspect_file(*task, source) for task in chunk]


def _progress(seen: Iterator[tuple[Task, Seen]], total: int) -> Iterator[tuple[Task, Seen]]:
    """Show a progress bar on the terminal; in a log it would be noise."""
    yield from track(seen, "searching files", total, disable=not sys.stderr.isatty())


def _shown(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return the hits without their values, and without paths that are themselves a hit."""
    named = {finding.path for finding in findings if finding.hit.place == "name"}
    rows = Counter(
        (
            "a path that is itself identifying" if finding.path in named else finding.path,
            finding.hit.place,
            finding.hit.kind,
        )
        for finding in findings
    )
    return [
        {"path": path, "container": place, "kind": kind, "values": count}
        for (path, place, kind), count in sorted(rows.items())
    ]


def _found(findings: Sequence[Finding], report: Path) -> UserError:
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
