"""Filling the store over several processes."""

from collections.abc import Iterable, Sequence
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np

from dsnet.config.cohort import Slices
from dsnet.errors import UserError
from dsnet.processes import cpus, open_pool
from dsnet.slices.grid import Edges
from dsnet.slices.image import Outcome, Task, store

_FEW = 64
"""Images per process below which its start costs more than its share of the work."""

_CHUNK = 8

_FAULTS = {
    "gone": ("the file that ingestion read", "none", "bring it back, or run the workflow again"),
    "changed": (
        "the pixels that ingestion read",
        "others, or none",
        "bring the file back, or run the workflow again",
    ),
    "unusable": (
        "one grey image in HU with a pixel spacing",
        "something else",
        "leave the criteria not_original_axial, bad_geometry and no_hu_scale switched on",
    ),
    "no_body": (
        "a body to centre the grid on",
        "nothing above -300 HU",
        "exclude the image in review.csv, or correct its annotation",
    ),
}


def build(path: Path, tasks: Sequence[Task], params: Slices) -> list[Edges]:
    """Write the images of `tasks` to the array file `path`; return all their boxes on the grid.

    Each image goes to its task's row, so that the file does not hang on the number of processes.

    Parameters
    ----------
    path : Path
        Written: a .npy file of int16, shape (images, size_px, size_px).
    tasks : sequence of Task
        In the order of their rows.
    params : Slices

    Raises
    ------
    UserError
        If a file is gone or changed, or the grid would cut a box.
    """
    shape = (len(tasks), params.size_px, params.size_px)
    # Nothing keeps the array: on Windows a file that is mapped cannot be renamed.
    np.lib.format.open_memmap(path, mode="w+", dtype=np.int16, shape=shape).flush()
    one = partial(store, path=path, size_px=params.size_px, pixel_mm=params.pixel_mm)
    processes = min(params.processes or cpus(), ceil(len(tasks) / _FEW))
    if processes <= 1:
        return _collect(tasks, map(one, tasks), params)
    pool = open_pool(processes)
    try:
        return _collect(tasks, pool.map(one, tasks, chunksize=_CHUNK), params)
    finally:
        pool.shutdown(cancel_futures=True)


def _collect(tasks: Sequence[Task], outcomes: Iterable[Outcome], params: Slices) -> list[Edges]:
    """Return the boxes of all outcomes, or raise for the first fault, or for the boxes cut."""
    boxes: list[Edges] = []
    reach: list[float] = []
    middle = params.size_px / 2
    for task, outcome in zip(tasks, outcomes, strict=True):
        if outcome.fault:
            expected, came, remedy = _FAULTS[outcome.fault]
            raise UserError(
                task.file_key, expected=expected, came=came, remedy=remedy, private=task.path
            )
        boxes += outcome.boxes
        reach.append(max(abs(edge - middle) for box in outcome.boxes for edge in box))
    cut = [task for task, farthest in zip(tasks, reach, strict=True) if farthest > middle]
    if cut:
        # Raised once all are known: the remedy then suits every box.
        size_px = 32 * ceil((2 * max(reach) + 2) / 32)
        raise UserError(
            cut[0].file_key,
            expected=f"boxes within the grid of {params.size_px} px of {params.pixel_mm} mm",
            came=f"one that it would cut (so on {len(cut)} of {len(tasks)} images)",
            remedy=f"set slices.size_px to {size_px} or more, or correct the annotation",
            private=cut[0].path,
        )
    return boxes
