"""Slices that are known to show no body of L1 to L4: ``python -m dsnet.slices.negatives``.

A detector that sees slices of L1 to L4 alone learns that every slice has a box. A slice is a
negative for one of two reasons only: boxes of other levels are annotated on it and none of L1 to
L4, or a mask that has all four has no body of them nearby: beyond them, and in the discs between. A
slice without an annotation is not one: papers annotate a few slices of each vertebra.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from dsnet import schemas
from dsnet.cohort.annotations.collect import used
from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Slices
from dsnet.dicom.scan import native
from dsnet.files import whole
from dsnet.results import Results
from dsnet.schemas import LEVELS
from dsnet.slice_tables import NEGATIVES
from dsnet.slices.image import ImageError, read_hu, render
from dsnet.slices.step import fault_error
from dsnet.step import run

_MASKS = ("nifti", "seg")
_ELSEWHERE = "not_lumbar"
_KEYS = ("file_key", "image_key", "patient_key")

_LEAST_BODY_MM, _LARGEST_DISC_MM = 15.0, 20.0
"""Heights: a mask of some slices of each body alone has less, and more between."""


def store_negatives(
    *,
    slices: Slices,
    cohort: Path,
    private: Path,
    source: Path,
    index: Path,
    boxes: Path,
    ledger: Path,
    split: Path,
    store: Path,
    table: Path,
) -> None:
    """Store the slices of the split's patients that are known to show no body of L1 to L4.

    Parameters
    ----------
    slices : Slices
        The grid, the same as that of the slice store.
    cohort, private : Path
        The cohort folder, and the folder of the config key ``private``, whose map leads to files.
    source, index, boxes, ledger, split : Path
        Whose results these are, `schemas.INDEX`, `schemas.ANNOTATIONS`, `schemas.LEDGER` and
        `schemas.SPLIT`.
    store : Path
        Written: .npy, int16 HU, shape (images, size_px, size_px), by pixel hash.
    table : Path
        Written: `NEGATIVES`, one row for each image.

    Raises
    ------
    UserError
        If a file is gone or has changed since ingestion.
    """
    found = find_negatives(
        schemas.read(schemas.INDEX, index),
        schemas.read(schemas.ANNOTATIONS, boxes),
        schemas.read(schemas.LEDGER, ledger),
        schemas.read(schemas.SPLIT, split),
    )
    identities = Results(source.parents[1]).private(private, cohort).read_map()
    write_negatives(
        found, identities, CohortFolder(cohort).dicom, slices=slices, store=store, table=table
    )


def write_negatives(
    found: pd.DataFrame,
    identities: pd.DataFrame,
    dicom: Path,
    *,
    slices: Slices,
    store: Path,
    table: Path,
) -> None:
    """Write the images and the table of negatives; one that shows nobody is left out.

    Parameters
    ----------
    found : DataFrame
        As `find_negatives` returns it.
    identities : DataFrame
        `schemas.MAP`.
    dicom : Path
        The cohort's ``dicom/``.
    slices, store, table
        As for `store_negatives`, with its errors.
    """
    files = found.merge(identities[["file_key", "relative_path"]], on="file_key")
    grid = slices.size_px, slices.pixel_mm
    images, kept = [], []
    for row in files.to_dict("records"):
        path = str(dicom / native(row["relative_path"]))
        try:
            hu, spacing_mm = read_hu(path, row["pixel_hash"])
            images.append(render(hu, spacing_mm, *grid, row["orientation"])[1])
        except ImageError as error:
            if error.fault == "no_body":  # beyond the patient there is nothing to learn from
                continue
            raise fault_error(row["file_key"], path, error.fault) from error
        kept.append(row)
    shape = (0, slices.size_px, slices.size_px)
    stored = np.stack(images) if images else np.zeros(shape, dtype=np.int16)
    with whole(store) as temporary, temporary.open("wb") as stream:
        np.save(stream, stored)
    listed = pd.DataFrame(kept, columns=list(files.columns)).assign(row=range(len(kept)))
    types = {name: column.dtype.type for name, column in NEGATIVES.columns.items()}
    schemas.write(NEGATIVES, listed[list(types)].astype(types), table)


def find_negatives(
    index: pd.DataFrame, annotations: pd.DataFrame, ledger: pd.DataFrame, split: pd.DataFrame
) -> pd.DataFrame:
    """Return the slices that are known to show no body of L1 to L4.

    They belong to patients of the split, and fail no criterion except that they are not lumbar.

    Parameters
    ----------
    index, annotations, ledger, split : DataFrame
        `schemas.INDEX`, `schemas.ANNOTATIONS`, `schemas.LEDGER` and `schemas.SPLIT`.

    Returns
    -------
    DataFrame
        ``file_key``, ``image_key``, ``patient_key``, ``subset``, ``reason``, ``pixel_hash`` and
        ``orientation``, by pixel hash.
    """
    failed = ledger["all_criteria"].str.split(";")
    only = [{name for name in names if name[-1:] != "?"} == {_ELSEWHERE} for names in failed]
    subset_of = split.drop_duplicates("patient_key").set_index("patient_key")["subset"]
    files = index[index["file_key"].isin(ledger.loc[only, "file_key"])]
    files = files[files["patient_key"].isin(subset_of.index)]
    reasons = {**dict(_off_masks(index, annotations)), **_other_levels(annotations)}
    files = files[files["file_key"].isin(reasons)]
    return files.assign(
        subset=files["patient_key"].map(subset_of), reason=files["file_key"].map(reasons)
    ).sort_values(["pixel_hash", "image_key"], ignore_index=True)[
        [*_KEYS, "subset", "reason", "pixel_hash", "orientation"]
    ]


def _other_levels(annotations: pd.DataFrame) -> dict[str, str]:
    """Return the files on which other levels are annotated and L1 to L4 are not, with the level."""
    boxes = used(annotations)
    lumbar = annotations.loc[annotations["level"].isin(LEVELS), "file_key"]  # used or not
    others = boxes[~boxes["file_key"].isin(lumbar)].sort_values("level")
    return {str(key): " ".join(own) for key, own in others.groupby("file_key")["level"]}


def _off_masks(index: pd.DataFrame, annotations: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield the files of a series that lie off all bodies of L1 to L4 of its whole mask."""
    masks = annotations[annotations["format"].isin(_MASKS) & annotations["level"].isin(LEVELS)]
    places = index[["file_key", "series_key", "position_mm", "series_spacing_mm"]]
    for (_, series), own in masks.merge(places, on="file_key").groupby(["table", "series_key"]):
        if set(own["level"]) < set(LEVELS):
            continue
        slices = places[places["series_key"] == series]
        spacing_mm = float(slices["series_spacing_mm"].iloc[0])
        # One slice more: a mask may leave out the end plate.
        margin_mm = 1.5 * spacing_mm
        masked_mm = np.unique(own["position_mm"])
        position_mm = slices["position_mm"].to_numpy(float)
        off = np.abs(np.subtract.outer(position_mm, masked_mm)).min(axis=1) > margin_mm
        if not _is_dense(own, spacing_mm):
            off &= (position_mm < masked_mm[0]) | (position_mm > masked_mm[-1])
        for key in slices.loc[off, "file_key"]:
            yield key, "off the mask"


def _is_dense(masked: pd.DataFrame, spacing_mm: float) -> bool:
    """Return whether a mask has each body whole, so that what it leaves out between are discs."""
    bodies = [np.unique(own) for _, own in masked.groupby("level")["position_mm"]]
    gaps_mm = np.diff(np.unique(masked["position_mm"]))
    return (
        all(np.diff(own).max(initial=0.0) < 1.5 * spacing_mm for own in bodies)
        and all(np.ptp(own) + spacing_mm >= _LEAST_BODY_MM for own in bodies)
        and bool(gaps_mm.max() < _LARGEST_DISC_MM)
    )


if __name__ == "__main__":
    run(store_negatives)
