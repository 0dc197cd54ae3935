"""How many CPUs there are, and processes that read, write or compute on them."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context


def cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_pool(processes: int) -> ProcessPoolExecutor:
    """Return a pool of silent processes, which the caller shuts down.

    Spawned, not forked: alike on every system, and no copy of the parent's tables and threads.
    """
    return ProcessPoolExecutor(processes, get_context("spawn"), initializer=_start)


def _start() -> None:
    """Close a worker's mouth, since a C library may print, and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for standard in (1, 2):
        os.dup2(nowhere, standard)
