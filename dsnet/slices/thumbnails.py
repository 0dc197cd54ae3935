"""Small bone-window pictures of a few images, chosen by a rule that no secret key influences.

The step makes those of excluded images, whose files only the private map leads to; the report makes
those of included ones from the slice store.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.config.detector import Window
from dsnet.config.output import Report
from dsnet.deidentify.pixel_data import refusal
from dsnet.dicom.reader import quiet
from dsnet.dicom.scan import native
from dsnet.results import Results
from dsnet.slices.image import ImageError, read_hu
from dsnet.step import run

RULE = (
    "Criteria take turns, images included and images flagged for review counting as two more; "
    "within one, patients take turns in the order of the ledger; of a patient, the middle image "
    "comes first."
)

EDGE_PX = 144
"""Of the longer side."""

_FLAGGED = "flagged"
_JPEG_QUALITY = 80
_BONE = Window()


def thumbnails(
    *,
    report: Report,
    cohort: Path,
    private: Path,
    source: Path,
    index: Path,
    ledger: Path,
    pictures: Path,
) -> None:
    """Write pictures of the excluded images among those that the report shows.

    Only original CT slices are shown: screenshots, derived images and localizers may have a name
    burned into their pixels, and so may an image that `dsnet.deidentify.pixel_data` refuses. A file
    that is gone or has changed since ingestion gives no picture.

    Parameters
    ----------
    report : Report
        How many images the report shows.
    cohort : Path
        The cohort folder, whose DICOM files are read.
    private : Path
        The folder of the config key ``private``, whose map leads to the files.
    source, index, ledger : Path
        Whose results these are, `schemas.INDEX` and `schemas.LEDGER`.
    pictures : Path
        Written: `schemas.THUMBNAILS`.
    """
    files, rows = schemas.read(schemas.INDEX, index), schemas.read(schemas.LEDGER, ledger)
    identities = Results(source.parents[1]).private(private, cohort).read_map()
    chosen = choose(rows, showable(rows, files), report.thumbnails)
    wanted = rows.loc[chosen, ["file_key", "status"]].merge(identities, on="file_key")
    made = [
        (file_key, *picture)
        for file_key, path, pixel_hash in wanted.loc[
            wanted["status"] == "excluded", ["file_key", "relative_path", "pixel_hash"]
        ].to_numpy()
        if (picture := _of_file(CohortFolder(cohort).dicom / native(path), pixel_hash)) is not None
    ]
    table = pd.DataFrame(made, columns=list(schemas.THUMBNAILS.columns))
    types = {"file_key": str, "width_px": int, "height_px": int, "jpeg_base64": str}
    schemas.write(schemas.THUMBNAILS, table.astype(types), pictures)


def showable(ledger: pd.DataFrame, index: pd.DataFrame) -> "pd.Series[bool]":
    """Return which images may be shown: those included, and original CT slices.

    Parameters
    ----------
    ledger, index : DataFrame
        `schemas.LEDGER` and `schemas.INDEX`, in the same order.
    """
    plain = (index["modality"] == "CT") & (index["image_kind"] == "original")
    original = plain & index["decoded"] & index["hu_scale"] & (index["row_spacing_mm"] > 0)
    return (ledger["status"] == "included") | original


def choose(ledger: pd.DataFrame, eligible: "pd.Series[bool]", number: int) -> list[int]:
    """Return the positions in the ledger of at most `number` images, in the order of `RULE`.

    Parameters
    ----------
    ledger : DataFrame
        `dsnet.schemas.LEDGER`, numbered from 0.
    eligible : Series of bool
        Whether an image may, and can, be shown.
    number : int
    """
    rows = ledger.loc[eligible, ["patient_key", "criterion", "all_criteria"]]
    flagged = (rows["criterion"] == "") & (rows["all_criteria"] != "")
    rows = rows.assign(kind=rows["criterion"].mask(flagged, _FLAGGED))
    own = rows.groupby(["kind", "patient_key"], sort=False)
    size = own["kind"].transform("size")
    from_middle = np.abs(2 * own.cumcount() - (size - 1))
    rows = rows.assign(patient=own.ngroup(), from_middle=from_middle)
    rows = rows.sort_values(["from_middle", "patient"], kind="stable")
    rows["turn"] = rows.groupby("patient").cumcount()
    rows = rows.sort_values(["turn", "patient"], kind="stable")
    rows["turn"] = rows.groupby("kind").cumcount()
    rows = rows.sort_values(["turn", "kind"], kind="stable")
    return [int(position) for position in rows.index[:number]]


def bone_window(hu: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return HU as grey values, 0 and 255 at the edges of the bone window (interpretation 21)."""
    low = _BONE.centre_hu - _BONE.width_hu / 2
    share = (hu.astype(np.float64) - low) / _BONE.width_hu
    grey: NDArray[np.uint8] = np.rint(share.clip(0, 1) * 255).astype(np.uint8)
    return grey


def picture(hu: NDArray[np.generic], spacing_mm: Sequence[float]) -> tuple[int, int, str]:
    """Return width, height and base64 of a grey JPEG with square pixels.

    Parameters
    ----------
    hu : numpy.ndarray, shape (rows, columns)
    spacing_mm : sequence of float
        Between rows and between columns.
    """
    height_mm, width_mm = (n * step for n, step in zip(hu.shape, spacing_mm, strict=True))
    scale = EDGE_PX / max(height_mm, width_mm)
    size = max(1, round(width_mm * scale)), max(1, round(height_mm * scale))
    small = Image.fromarray(bone_window(hu)).resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=_JPEG_QUALITY)
    return *size, base64.b64encode(stream.getvalue()).decode("ascii")


def _of_file(path: Path, pixel_hash: str) -> tuple[int, int, str] | None:
    try:
        hu, spacing_mm = read_hu(str(path), pixel_hash)
    except ImageError:
        return None
    with quiet():
        header = dcmread(path, stop_before_pixels=True, force=True)
        return picture(hu, spacing_mm) if refusal(header) is None else None


if __name__ == "__main__":
    run(thumbnails)
