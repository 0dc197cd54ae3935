"""The slices step: each labelled image once, on one grid, with its boxes and a digest of all."""

from pathlib import Path

import pandas as pd

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Dxa, Slices
from dsnet.dicom.scan import native
from dsnet.errors import UserError
from dsnet.files import sha256, whole, write_json
from dsnet.results import Results
from dsnet.slices.build import build
from dsnet.slices.image import Task
from dsnet.step import run


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
        edges = build(temporary, _tasks(ordered, CohortFolder(cohort).dicom), slices)
    table = ordered.assign(**pd.DataFrame(edges, columns=list(schemas.BOX)))
    schemas.write(schemas.SLICES, table[list(schemas.SLICES.columns)], boxes)
    labels_per_class = table["label"].value_counts().reindex(schemas.CLASSES, fill_value=0)
    write_json(
        digest,
        {
            "cohort": _name(results.source.name, dxa),
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


def _name(cohort: str, dxa: Dxa) -> str:
    if dxa.reference is None:
        return cohort
    return f"{cohort}, T-scores from BMD by {dxa.reference.name}"


def _order(labelled: pd.DataFrame, files: pd.DataFrame, places: pd.DataFrame) -> pd.DataFrame:
    """Return the labels with their files' facts and `row`, in the order of the store."""
    known = files[["file_key", "pixel_hash", "position_mm"]]
    facts = known.merge(places[["file_key", "relative_path"]], on="file_key")
    boxes = labelled.merge(facts, on="file_key", how="left")
    unknown = boxes["relative_path"].isna()
    if unknown.any():
        row = int(unknown.to_numpy().argmax())
        raise UserError(
            f"labels.csv row {row + 2} ({boxes['file_key'][row]})",
            expected="a file that the index and the private map know",
            came="one that they do not",
            remedy="run the workflow again, so that all come from the same files",
        )
    # The key decides between copies alone, which are the same but for their name.
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
        tasks.append(Task(row, first["file_key"], path, first["pixel_hash"], tuple(edges)))
    return tasks


if __name__ == "__main__":
    run(store_slices)
