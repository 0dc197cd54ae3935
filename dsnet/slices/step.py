"""The slices step: each labelled image once, on one grid, with its boxes and a digest of all."""

import os
from collections.abc import Iterable, Sequence
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Dxa, Slices
from dsnet.dicom.scan import native
from dsnet.errors import UserError
from dsnet.files import sha256, whole, write_json
from dsnet.processes import cpus, open_pool, without_main
from dsnet.results import Results
from dsnet.slices.image import Outcome, Task, store_image
from dsnet.step import run

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


def fault_error(file_key: str, path: str, fault: str) -> UserError:
    """Return the error of an image that cannot be stored; `fault` as in `ImageError`."""
    expected, came, remedy = _FAULTS[fault]
    return UserError(file_key, expected=expected, came=came, remedy=remedy, private=path)


def store_slices(
    *,
    slices: Slices,
    dxa: Dxa,
    cohort: Path,
    private: Path,
    source: Path,
    index: Path,
    labels: Path,
    split: Path,
    store: Path,
    boxes: Path,
    checks: Path,
    digest: Path,
) -> None:
    """Store every labelled image once, as 16-bit HU on one in-plane grid.

    Parameters
    ----------
    slices : Slices
    dxa : Dxa
        Whose reference, if densities made the T-scores, every table names beside the cohort.
    cohort : Path
        The cohort folder, whose DICOM files are read.
    private : Path
        The folder of the config key ``private``, whose map leads to the files.
    source : Path
        Whose results these are.
    index, labels : Path
        Tables `schemas.INDEX` and `schemas.LABELS`.
    split : Path
        Goes into the digest alone, so that all that trains depends on the digest.
    store : Path
        Written: .npy, int16 HU, shape (images, size_px, size_px). Images follow one another by
        pixel hash, so that neither the secret key nor a file name moves them.
    boxes : Path
        Written: `schemas.SLICES`, one row per box.
    checks : Path
        Written: `schemas.BOX_CHECKS`, the boxes that a reader should look at.
    digest : Path
        Written: JSON that changes when, and only when, what is trained on does.

    Raises
    ------
    UserError
        If a file is gone or has changed since ingestion, or the grid would cut a box.
    """
    results = Results(source.parents[1])
    ordered = _order(
        schemas.read(schemas.LABELS, labels),
        schemas.read(schemas.INDEX, index),
        results.private(private, cohort).read_map(),
    )
    with whole(store) as temporary:
        measured = build(temporary, _tasks(ordered, CohortFolder(cohort).dicom), slices)
    table = ordered.assign(**measured)
    schemas.write(schemas.SLICES, table[list(schemas.SLICES.columns)], boxes)
    little = table["bone_fraction"] < slices.min_bone_fraction
    checked = table.assign(flag=np.where(little, "little_bone", "")).astype({"flag": str})
    schemas.write(schemas.BOX_CHECKS, checked[list(schemas.BOX_CHECKS.columns)], checks)
    labels_per_class = table["label"].value_counts().reindex(schemas.CLASSES, fill_value=0)
    name = results.source.name
    if dxa.reference is not None:
        name += f", T-scores from BMD by {dxa.reference.name}"
    write_json(
        digest,
        {
            "cohort": name,
            "synthetic": results.source.synthetic,
            "images": table["row"].nunique(),
            "boxes": len(table),
            "labels_per_class": labels_per_class.to_dict(),
            "size_px": slices.size_px,
            "pixel_mm": slices.pixel_mm,
            "store_sha256": sha256(store),
            "boxes_sha256": sha256(boxes),
            "split_sha256": sha256(split),
        },
    )


def store_tasks(
    labels: pd.DataFrame, index: pd.DataFrame, identities: pd.DataFrame, dicom: Path
) -> list[Task]:
    """Return the task of each labelled image, in the store's order.

    Parameters
    ----------
    labels, index, identities : DataFrame
        `schemas.LABELS`, `schemas.INDEX` and `schemas.MAP`.
    dicom : Path
        The cohort's ``dicom/``.
    """
    return _tasks(_order(labels, index, identities), dicom)


def _order(labelled: pd.DataFrame, files: pd.DataFrame, identities: pd.DataFrame) -> pd.DataFrame:
    """Return the labels with facts and path of their files, and `row`, in the store's order."""
    facts = files[["file_key", "pixel_hash", "position_mm", "orientation"]]
    facts = facts.merge(identities[["file_key", "relative_path"]], on="file_key")
    boxes = labelled.merge(facts, on="file_key", how="left")
    missing = boxes["relative_path"].isna()
    if missing.any():
        row = int(missing.to_numpy().argmax())
        raise UserError(
            f"labels.csv row {row + 2} ({boxes['file_key'][row]})",
            expected="a file that the index and the private map know",
            came="one that they do not",
            remedy="run the workflow again, so that all come from the same files",
        )
    # The key decides between copies alone, which are the same except for their name.
    boxes = boxes.sort_values(
        ["pixel_hash", "position_mm", "image_key", "level"], ignore_index=True
    )
    return boxes.assign(row=pd.factorize(boxes["image_key"])[0])


def _tasks(ordered: pd.DataFrame, dicom: Path) -> list[Task]:
    """Return one task for each image of `_order`."""
    tasks = []
    for row, (_, boxes) in enumerate(ordered.groupby("row")):
        first = boxes.iloc[0]
        edges = boxes[list(schemas.BOX)].itertuples(index=False, name=None)
        path = str(dicom / native(first["relative_path"]))
        facts = first["file_key"], path, first["pixel_hash"], first["orientation"]
        tasks.append(Task(row, *facts, tuple(edges)))
    return tasks


def build(path: Path, tasks: Sequence[Task], params: Slices) -> pd.DataFrame:
    """Write the images of `tasks` to the array file `path`; return what their boxes become.

    Each image goes to its task's row, so that the file does not depend on the number of processes.

    Parameters
    ----------
    path : Path
        Written: a .npy file of int16, shape (images, size_px, size_px).
    tasks : sequence of Task
        In the order of their rows.
    params : Slices

    Returns
    -------
    DataFrame
        One row per box of the tasks, in their order: the edges of `schemas.BOX` on the grid, and
        ``bone_fraction``.

    Raises
    ------
    UserError
        If a file is gone or changed, or the grid would cut a box.
    """
    shape = (len(tasks), params.size_px, params.size_px)
    # No variable keeps the array: on Windows a file that is mapped cannot be renamed.
    np.lib.format.open_memmap(path, mode="w+", dtype=np.int16, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):
        # A disk that is full is said here; a mapped file that it cannot hold kills who writes it.
        with path.open("rb+") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    one = partial(
        store_image,
        path=path,
        size_px=params.size_px,
        pixel_mm=params.pixel_mm,
        bone_hu=params.bone_hu,
    )
    processes = min(params.processes or cpus(), ceil(len(tasks) / _FEW))
    if processes <= 1:
        return _collect(tasks, map(one, tasks), params)
    pool = open_pool(processes)
    try:
        with without_main():  # all processes start here; they need no table library
            outcomes = pool.map(one, tasks, chunksize=_CHUNK)
        return _collect(tasks, outcomes, params)
    finally:
        pool.shutdown(cancel_futures=True)


def _collect(tasks: Sequence[Task], outcomes: Iterable[Outcome], params: Slices) -> pd.DataFrame:
    """Return the boxes of all outcomes, or raise for the first fault, or for the boxes cut."""
    boxes: list[tuple[float, ...]] = []
    reach: list[float] = []
    middle = params.size_px / 2
    for task, outcome in zip(tasks, outcomes, strict=True):
        if outcome.fault:
            raise fault_error(task.file_key, task.path, outcome.fault)
        boxes += [(*box, bone) for box, bone in zip(outcome.boxes, outcome.bone, strict=True)]
        reach.append(max(abs(edge - middle) for box in outcome.boxes for edge in box))
    cut = [task for task, farthest in zip(tasks, reach, strict=True) if farthest > middle]
    if cut:
        # Raised after the last image, so that the remedy suits every box.
        size_px = 32 * ceil((2 * max(reach) + 2) / 32)
        raise UserError(
            cut[0].file_key,
            expected=f"boxes within the grid of {params.size_px} px of {params.pixel_mm} mm",
            came=f"one that it would cut (so on {len(cut)} of {len(tasks)} images)",
            remedy=f"set slices.size_px to {size_px} or more, or correct the annotation",
            private=cut[0].path,
        )
    return pd.DataFrame(boxes, columns=[*schemas.BOX, "bone_fraction"])


if __name__ == "__main__":
    run(store_slices)
