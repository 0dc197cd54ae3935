"""Reading many files over several processes, whatever a file does to a process."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from dsnet.dicom import reader
from dsnet.dicom.pixels import Thresholds
from dsnet.dicom.reader import Facts
from dsnet.dicom.scan import ScannedFile
from dsnet.processes import cpus, open_pool

_CHUNK = 32
"""Files that travel to a process, and are committed to the cache, together."""

_FEW = 64
"""Files up to which starting processes takes longer than reading."""

_MOST_AUTOMATIC = 8
"""A process holds some 100 MB, and a disk seldom feeds more."""

Chunk = Sequence[ScannedFile]
ReadFile = Callable[[str, Thresholds], Facts]


def read_all(
    files: Sequence[ScannedFile],
    thresholds: Thresholds,
    processes: int = 0,
    read: ReadFile = reader.read,
) -> Iterator[list[tuple[ScannedFile, Facts]]]:
    """Yield the facts of `files`, some at a time and in no order.

    A file that kills its process (a decoder's segmentation fault, no memory) is found out by
    reading the chunks in flight one file at a time, and keeps its header, with the fault
    ``decode_error``. An exception that `read` lets through is a fault in the program and goes on.

    Parameters
    ----------
    files : sequence of ScannedFile
    thresholds : Thresholds
    processes : int
        0 for the CPUs of this process, at most 8. One process, and up to 64 files, are read here,
        where a file that kills its process ends the run.
    read : callable
        What reads one file; tests replace it.
    """
    processes = processes or min(cpus(), _MOST_AUTOMATIC)
    chunks = (files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK))
    if processes == 1 or len(files) <= _FEW:
        for chunk in chunks:
            yield list(zip(chunk, _read_chunk(chunk, thresholds, read), strict=True))
        return
    for chunk, facts in _over_processes(chunks, thresholds, processes, read):
        yield list(zip(chunk, facts, strict=True))


def _over_processes(
    chunks: Iterator[Chunk], thresholds: Thresholds, processes: int, read: ReadFile
) -> Iterator[tuple[Chunk, list[Facts]]]:
    """Yield the facts of each chunk, with two chunks per process in flight."""
    pool = open_pool(processes)
    running: dict[Future[list[Facts]], Chunk] = {}
    try:
        while True:
            for chunk in islice(chunks, 2 * processes - len(running)):
                running[_submit(pool, chunk, thresholds, read)] = chunk
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                pool.shutdown()
                for chunk in running.values():
                    yield chunk, _one_by_one(chunk, thresholds, read)
                running.clear()
                pool = open_pool(processes)
                continue
            for future in done:
                yield running.pop(future), future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _one_by_one(chunk: Chunk, thresholds: Thresholds, read: ReadFile) -> list[Facts]:
    """Read the files of a chunk so that one that kills its process is known."""
    facts = []
    pool = open_pool(1)
    for file in chunk:
        try:
            facts.append(pool.submit(read, file.path, thresholds).result())
        except BrokenProcessPool:
            pool.shutdown()
            pool = open_pool(1)
            facts.append(reader.read(file.path, thresholds, decode=False))
    pool.shutdown()
    return facts


def _submit(
    pool: ProcessPoolExecutor, chunk: Chunk, thresholds: Thresholds, read: ReadFile
) -> Future[list[Facts]]:
    """Submit a chunk; to a pool that has just broken, as a future that says so."""
    try:
        return pool.submit(_read_chunk, chunk, thresholds, read)
    except BrokenProcessPool as error:
        future: Future[list[Facts]] = Future()
        future.set_exception(error)
        return future


def _read_chunk(chunk: Chunk, thresholds: Thresholds, read: ReadFile) -> list[Facts]:
    return [read(file.path, thresholds) for file in chunk]
