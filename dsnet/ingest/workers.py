"""Reading many files in processes of their own, regardless of what a file does to its process.

Files are read in other processes always, with one core and few files too: only a process can be
stopped when its time is over, held to its memory, or lost to a decoder's segmentation fault.
"""

import errno
import math
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from dsnet.dicom import reader
from dsnet.dicom.evidence import Thresholds
from dsnet.dicom.identifying import Value
from dsnet.dicom.reader import Facts, Limits
from dsnet.dicom.scan import ScannedFile
from dsnet.errors import UserError
from dsnet.processes import cpus, limit_memory, prepare, without_main

_CHUNK = 32
"""Files that travel to a process together."""

_ANSWER_S = 0.1
"""A process answers at least that often: what it has read since is lost if it dies."""

_FEW = 64
"""Files up to which a second process takes longer to start than to read its share."""

_MOST_AUTOMATIC = 8
"""A process holds some 100 MB, and a disk seldom feeds more."""

_MOST_SENT = 4096
"""Values that a process remembers to have sent."""

_KILLED = -9
"""Exit status of a process that was ended by SIGKILL, as the system does when memory runs out."""

_SPAWN = get_context("spawn")

Chunk = list[tuple[ScannedFile, Facts]]
ReadFile = Callable[..., Facts]


@dataclass(frozen=True, slots=True)
class _Job:
    """A file to read.

    Attributes
    ----------
    file : ScannedFile
    fault, fault_class : str
        What ended the process that decoded the file: then its header alone is read.
    killed : bool
        Whether the system has killed a process that read the file. One file may take the blame for
        a machine that is short of memory, so it is read once more.
    """

    file: ScannedFile
    fault: str = ""
    fault_class: str = ""
    killed: bool = False


def read_all(
    files: Sequence[ScannedFile],
    thresholds: Thresholds,
    limits: Limits,
    processes: int = 0,
    read: ReadFile = reader.read,
) -> Iterator[Chunk]:
    """Yield the facts of `files`, some at a time and in no order.

    A file that ends its process keeps its header where that can be read, with the fault
    ``timeout`` (it took longer than allowed), ``memory_limit`` (it wanted more than allowed) or
    ``decode_error`` (the process died, as by a decoder's segmentation fault).

    Parameters
    ----------
    files : sequence of ScannedFile
    thresholds : Thresholds
    limits : Limits
        For each file; memory is limited on Linux alone.
    processes : int
        0 for the CPUs of this process, at most 8. Up to 64 files are read by one.
    read : callable
        What reads one file, called as `dsnet.dicom.reader.read`; tests replace it.

    Raises
    ------
    UserError
        If the machine fails: no memory, no space, too many open files.
    Exception
        What `read` lets through: a fault in the program.
    """
    jobs = [_Job(file) for file in files]
    chunks = deque(jobs[start : start + _CHUNK] for start in range(0, len(jobs), _CHUNK))
    processes = processes or min(cpus(), _MOST_AUTOMATIC)
    most = min(processes if len(files) > _FEW else 1, len(chunks))
    workers: list[_Worker] = []
    try:
        workers += [_Worker(read, thresholds, limits) for _ in range(most)]
        while True:
            for worker in workers:
                if worker.is_idle and chunks:
                    worker.start(chunks.popleft())
            busy = [worker for worker in workers if not worker.is_idle]
            if not busy:
                return
            ready = wait([worker.pipe for worker in busy], _until_next_deadline(busy))
            for worker in busy:
                worker.attend(answered=worker.pipe in ready)
                if worker.is_idle:
                    chunks.extendleft(worker.left_over())
                    done = worker.take_done()
                    if chunks:  # it reads while the caller keeps what it has read
                        worker.start(chunks.popleft())
                    yield done
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A reading process, the jobs that it still owes, and the facts that it has returned.

    A process that ends, or is stopped after its time, is replaced by another one. If it owed
    several files each of them is read again in a chunk of its own, which shows the one to blame.

    Parameters
    ----------
    read, thresholds, limits
        As for `read_all`.
    """

    def __init__(self, read: ReadFile, thresholds: Thresholds, limits: Limits) -> None:
        self._arguments = read, thresholds, limits
        self._seconds = limits.seconds
        self._owed: deque[_Job] = deque()
        self._again: list[list[_Job]] = []
        self._done: Chunk = []
        self._values: list[Value] = []
        self._is_ready = False
        self.deadline = math.inf
        self._spawn()

    @property
    def is_idle(self) -> bool:
        """Whether it owes nothing."""
        return not self._owed

    def start(self, chunk: Sequence[_Job]) -> None:
        """Send jobs to the process."""
        self._owed = deque(chunk)
        if self._is_ready:
            self.deadline = time.monotonic() + self._seconds
        with suppress(OSError):  # a process that has died since: reading from the pipe says so
            self.pipe.send([(job.file.path, not job.fault) for job in chunk])

    def attend(self, *, answered: bool) -> None:
        """Take an answer from the process, or see that it has died or that its time is over.

        Raises
        ------
        UserError, Exception
            As `read_all` does.
        """
        if not answered:
            if time.monotonic() >= self.deadline:
                self._lose("timeout")
            return
        try:
            answers = self.pipe.recv()
        except (EOFError, OSError):
            self._died()
            return
        self._is_ready = True
        self.deadline = time.monotonic() + self._seconds
        for answer in answers:
            if isinstance(answer, _Packed):
                job, facts = self._owed.popleft(), answer.unpack(self._values)
                if job.fault:
                    facts = facts._replace(fault=job.fault, fault_class=job.fault_class)
                self._done.append((job.file, facts))
            elif isinstance(answer, str):
                self._blame(answer)
            elif reader.is_of_machine(answer):
                raise _machine_error(_cause(answer), self._owed[0].file.path) from answer
            else:
                raise answer

    def left_over(self) -> list[list[_Job]]:
        """Return, once, the chunks that must be read again."""
        again, self._again = self._again, []
        return again

    def take_done(self) -> Chunk:
        """Return, once, the facts that have come."""
        done, self._done = self._done, []
        return done

    def stop(self) -> None:
        """End the process, in any state."""
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _spawn(self) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, *self._arguments), daemon=True)
        with without_main():
            self._process.start()
        theirs.close()
        self._is_ready = False
        self.deadline = math.inf  # the clock starts when the process says that it is ready

    def _died(self) -> None:
        self._process.join()
        status = self._process.exitcode or 0
        if not self._is_ready:
            raise _machine_error(f"{_name_of(status)} as a reading process started")
        if len(self._owed) == 1 and status == _KILLED and not self._owed[0].killed:
            self._again.append([replace(self._owed.popleft(), killed=True)])
        self._lose("memory_limit" if status == _KILLED else "decode_error", _name_of(status))

    def _lose(self, fault: str, fault_class: str = "") -> None:
        """Replace the process, and blame the file that it owed if that was a single one."""
        if len(self._owed) == 1:
            self._blame(fault, fault_class)
        self._again += [[job] for job in self._owed]
        self._owed.clear()
        self.stop()
        self._spawn()

    def _blame(self, fault: str, fault_class: str = "") -> None:
        """Have the header of the file in progress read alone, or do without it if that failed."""
        job = self._owed.popleft()
        if job.fault:
            self._done.append((job.file, Facts(job.fault, fault_class=job.fault_class)))
        else:
            self._again.append([replace(job, fault=fault, fault_class=fault_class)])


class _Packed(NamedTuple):
    """Facts on their way from a process to this one.

    The slices of a series share nearly all identifying values. Each value travels once, and from
    then on as its position in a list that grows alike on both sides.

    Attributes
    ----------
    facts : Facts
        Without identifying values.
    known : int
        How many values of the list travelled before.
    new : list of Value
        Those that follow them.
    positions : list of int
        Of the file's values in the list.
    """

    facts: Facts
    known: int
    new: list[Value]
    positions: list[int]

    @classmethod
    def pack(cls, facts: Facts, sent: dict[Value, int]) -> "_Packed":
        """Return facts packed; `sent` has the position of each value, and takes the new ones."""
        if len(sent) > _MOST_SENT:
            sent.clear()
        known = len(sent)
        new = [value for value in facts.identifying if value not in sent]
        sent.update(zip(new, count(known)))
        positions = list(map(sent.__getitem__, facts.identifying))
        return cls(facts._replace(identifying=()), known, new, positions)

    def unpack(self, values: list[Value]) -> Facts:
        """Return the facts; `values` is the list, and takes the new ones."""
        values[self.known :] = self.new
        own = tuple(map(values.__getitem__, self.positions))
        return self.facts._replace(identifying=own)


def _serve(pipe: Connection, read: ReadFile, thresholds: Thresholds, limits: Limits) -> None:
    """Answer chunks of paths with facts, several files in a message; what a process does."""
    import scipy.ndimage  # noqa: F401, PLC0415 - before memory is limited

    prepare()
    sent: dict[Value, int] = {}
    pipe.send([])
    with reader.quiet():
        while True:
            try:
                chunk = pipe.recv()
            except EOFError:
                return
            limited = limit_memory(limits.memory_bytes)
            answers, last_s = [], time.monotonic()
            for number, (path, decode) in enumerate(chunk, start=1):
                answer = _answer(read, path, thresholds, limits, decode=decode, limited=limited)
                answers.append(_Packed.pack(answer, sent) if isinstance(answer, Facts) else answer)
                if number == len(chunk) or time.monotonic() - last_s > _ANSWER_S:
                    pipe.send(answers)
                    answers, last_s = [], time.monotonic()


def _answer(
    read: ReadFile,
    path: str,
    thresholds: Thresholds,
    limits: Limits,
    *,
    decode: bool,
    limited: bool,
) -> Facts | str | Exception:
    """Return the facts of a file, a fault that its limits explain, or an exception to be raised.

    `limited` says whether memory is.
    """
    try:
        return read(path, thresholds, limits, decode=decode)
    except MemoryError as error:
        return "memory_limit" if limited else error
    except Exception as error:  # noqa: BLE001 - it is raised in the parent
        return error


def _until_next_deadline(busy: Sequence[_Worker]) -> float | None:
    deadline = min(worker.deadline for worker in busy)
    return None if deadline == math.inf else max(0.0, deadline - time.monotonic())


def _name_of(status: int) -> str:
    """Return the name of the signal that ended a process, else its exit status in words."""
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"exit status {status}"


def _cause(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return errno.errorcode.get(error.errno, f"error {error.errno}")
    return "no memory"


def _machine_error(cause: str, path: str = "") -> UserError:
    return UserError(
        "reading files",
        expected="a machine with memory, disk space and open files enough to read one",
        came=f"one without ({cause})",
        remedy="free some, or set the config key ingest.processes to a smaller number",
        private=path,
    )
