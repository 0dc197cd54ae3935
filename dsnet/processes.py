"""How many CPUs there are, and processes that read, write or compute on them."""

import ctypes
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import TypeVar

Task = TypeVar("Task")
Done = TypeVar("Done")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's ``mallopt``."""

_KEPT_BYTES = 32 << 20
"""The most that it takes for the second one."""


def cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_gpu() -> bool:
    """Return whether an NVIDIA GPU is here, by its driver; torch takes seconds to say so."""
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/gpus").exists()


def training_cores(cores: int) -> int:
    """Return how many of `cores` one training, or one prediction, takes on this machine.

    All of them beside a GPU, which a training has to itself. On CPUs half of them, so that two
    trainings run at once, since one leaves cores idle (docs/performance.md).
    """
    return cores if has_gpu() else max(1, cores // 2)


def open_pool(processes: int) -> ProcessPoolExecutor:
    """Return a pool of processes prepared by `prepare`, which the caller shuts down.

    Spawned, not forked: alike on every system, and no copy of the parent's tables and threads.
    """
    return ProcessPoolExecutor(processes, get_context("spawn"), initializer=prepare)


def each_result(
    work: Callable[[Task], Done], tasks: Sequence[Task], processes: int, title: str
) -> Iterator[Done]:
    """Yield the result of each task, in order; a terminal shows a bar, in a log it would be noise.

    Parameters
    ----------
    work : callable
    tasks : sequence
    processes : int
        1 or fewer for none but this one.
    title : str
        Of the bar.
    """
    from rich.console import Console  # noqa: PLC0415 - not for those who only count CPUs
    from rich.progress import track  # noqa: PLC0415

    console = Console(stderr=True)
    with open_pool(processes) if processes > 1 else nullcontext() as pool:
        results = pool.map(work, tasks) if pool else map(work, tasks)
        quiet = not console.is_terminal
        yield from track(results, title, len(tasks), console=console, disable=quiet)


def prepare() -> None:
    """Prepare a worker process: withhold what it prints, leave Ctrl-C to the parent, keep memory.

    A C library may print. glibc gives the memory of each image back to the system and takes it
    again for the next one, which costs a quarter of the time that reading a slice takes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for standard in (1, 2):
        os.dup2(nowhere, standard)
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)


def limit_memory(more_bytes: int) -> bool:
    """Let this process take at most `more_bytes` beyond what it has; return whether that works.

    It does on Linux, where an allocation beyond fails (RLIMIT_AS) instead of filling the machine.
    """
    if sys.platform != "linux":
        return False
    import resource  # noqa: PLC0415 - absent on Windows

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    wanted = pages * resource.getpagesize() + more_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    return True


@contextmanager
def without_main() -> Iterator[None]:
    """Keep processes that are spawned meanwhile from importing the main module.

    A step's main module imports tables and models, which no reading process needs. What such a
    process is given must come from other modules.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
