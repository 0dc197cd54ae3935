"""The split step: labels and index in, one part per labelled image out, with its proof."""

from pathlib import Path

import pandas as pd

from dsnet import schemas
from dsnet.config.cohort import Split
from dsnet.files import write_json
from dsnet.split.draw import draw
from dsnet.split.images import draw_images, images_of
from dsnet.split.imported import read_parts
from dsnet.split.patients import describe
from dsnet.split.proof import check, prove


def split_patients(*, params: Split, labels: Path, index: Path, split: Path, proof: Path) -> None:
    """Part the labelled patients, or their images (`split.unit`), into the three parts.

    Parameters
    ----------
    params : Split
    labels, index : Path
        Tables `schemas.LABELS` and `schemas.INDEX`.
    split : Path
        Written: `schemas.SPLIT`, one row per labelled image.
    proof : Path
        Written: what the parts share (nothing, unless split by image), and what each holds, as
        JSON.

    Raises
    ------
    UserError
        If the patients do not suffice, if an imported split does not fit them, or if two parts
        share anything; then nothing is written.
    """
    boxes = schemas.read(schemas.LABELS, labels)
    files = schemas.read(schemas.INDEX, index)
    if params.unit == "image":
        frame = draw_images(images_of(boxes, files), params)
    else:
        frame = _by_patient(boxes, files, params)
    evidence = prove(frame, boxes, files, params)
    check(evidence)
    schemas.write(schemas.SPLIT, frame, split)
    write_json(proof, evidence)


def _by_patient(boxes: pd.DataFrame, files: pd.DataFrame, params: Split) -> pd.DataFrame:
    patients = describe(boxes, files, params.seed)
    parts = draw(patients, params) if params.file is None else read_parts(params.file, patients)
    return assign(boxes, patients, parts)


def assign(boxes: pd.DataFrame, patients: pd.DataFrame, parts: "pd.Series[str]") -> pd.DataFrame:
    """Return the table `schemas.SPLIT`, sorted by image so that it does not hang on row order.

    Parameters
    ----------
    boxes : pandas.DataFrame
        `schemas.LABELS`.
    patients : pandas.DataFrame
        As `describe` returns them, indexed by patient key.
    parts : pandas.Series of str
        Part by patient key.
    """
    images = boxes[["image_key", "patient_key"]].drop_duplicates().sort_values("image_key")
    return images.assign(
        subset=images["patient_key"].map(parts),
        stratum=images["patient_key"].map(patients["stratum"]),
    ).reset_index(drop=True)
