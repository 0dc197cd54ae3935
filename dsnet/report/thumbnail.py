"""Small bone-window pictures of a few images; nothing of a header is drawn."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from dsnet.cohort.folder import CohortFolder
from dsnet.config import Window
from dsnet.dicom.reader import quiet
from dsnet.dicom.scan import native
from dsnet.report.sample import choose
from dsnet.schemas import CLASSES
from dsnet.slices.image import ImageError, read_hu
from dsnet.slices.store import SliceStore

EDGE_PX = 144
"""Of the longer side."""

_JPEG_QUALITY = 80
_BONE = Window()


@dataclass(frozen=True)
class Box:
    """An annotated vertebra, its edges as shares of the picture's width and height."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float
    level: str
    label: str


@dataclass(frozen=True)
class Thumbnail:
    """One picture.

    Attributes
    ----------
    row : int
        Of the ledger, from 0.
    source : str
        A ``data:`` URI of a grey JPEG.
    width_px, height_px : int
    boxes : tuple of Box
        None on images that are excluded.
    """

    row: int
    source: str
    width_px: int
    height_px: int
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Gallery:
    """What was drawn, and of how many.

    Attributes
    ----------
    thumbnails : list of Thumbnail
    candidates : int
        Images that might have been chosen.
    failed : int
        Images chosen whose file could not be read again, or forbids it.
    with_excluded : bool
        Whether files of excluded images were at hand.
    """

    thumbnails: list[Thumbnail]
    candidates: int
    failed: int
    with_excluded: bool


def draw(
    ledger: pd.DataFrame,
    index: pd.DataFrame,
    store: SliceStore | None,
    identities: pd.DataFrame | None,
    cohort: Path,
    *,
    number: int,
) -> Gallery:
    """Return pictures of at most `number` images, chosen by `dsnet.report.sample.RULE`.

    Images included come from the slice store, all others from their files. Of those, only
    original CT slices are drawn: screenshots, derived images and localizers may have a name burned
    into their pixels, and so may an image whose header says so, BurnedInAnnotation (0028,0301).

    Parameters
    ----------
    ledger, index : DataFrame
        Under `dsnet.schemas`, in the same order.
    store : SliceStore or None
        None where nothing is included.
    identities : DataFrame or None
        The private map; without it, or without the cohort, only images included are drawn.
    cohort : Path
        The config key of that name.
    number : int
    """
    rows = {key: row for row, key in enumerate(store.image_keys)} if store else {}
    stored = (ledger["status"] == "included") & ledger["image_key"].isin(rows)
    folder = CohortFolder(cohort).dicom
    at_hand = identities is not None and folder.is_dir()
    drawable = stored | (_original(index) & at_hand & (ledger["status"] == "excluded"))
    chosen = choose(ledger, drawable, number)
    places = {} if identities is None else _places(identities, folder)
    hashes = index["pixel_hash"]
    drawn: list[Thumbnail] = []
    for position in chosen:
        if store and stored[position]:
            drawn.append(_stored(position, store, rows[ledger["image_key"][position]]))
        else:
            path = places[ledger["file_key"][position]]
            drawn.extend(_decoded(position, path, hashes[position]))
    failed = len(chosen) - len(drawn)
    return Gallery(drawn, int(drawable.sum()), failed, at_hand)


def bone_window(hu: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return HU as grey values, 0 and 255 at the edges of the bone window (interpretation 21)."""
    low = _BONE.centre_hu - _BONE.width_hu / 2
    share = (hu.astype(np.float64) - low) / _BONE.width_hu
    grey: NDArray[np.uint8] = np.rint(share.clip(0, 1) * 255).astype(np.uint8)
    return grey


def _original(index: pd.DataFrame) -> "pd.Series[bool]":
    plain = (index["modality"] == "CT") & (index["image_kind"] == "original")
    return plain & index["decoded"] & index["hu_scale"] & (index["row_spacing_mm"] > 0)


def _places(identities: pd.DataFrame, folder: Path) -> dict[str, Path]:
    pairs = zip(identities["file_key"], identities["relative_path"], strict=True)
    return {key: folder / native(path) for key, path in pairs}


def _stored(position: int, store: SliceStore, row: int) -> Thumbnail:
    image = store.image(row)
    size = len(image)
    names = [CLASSES[label - 1] for label in store.labels(row)]
    edges = np.round(store.boxes(row) / size, 4).astype(float).tolist()
    boxes = tuple(
        Box(x_min, y_min, x_max, y_max, level, name)
        for (x_min, y_min, x_max, y_max), level, name in zip(
            edges, store.levels(row), names, strict=True
        )
    )
    return _thumbnail(position, image, (1.0, 1.0), boxes)


def _decoded(position: int, path: Path, pixel_hash: str) -> Iterator[Thumbnail]:
    """Yield the picture of a file, or nothing if it is gone, has changed or forbids it."""
    try:
        hu, spacing_mm = read_hu(str(path), pixel_hash)
    except ImageError:
        return
    if not _burned_in(path):
        yield _thumbnail(position, hu, spacing_mm)


@quiet()
def _burned_in(path: Path) -> bool:
    tags = ["BurnedInAnnotation"]
    header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=tags)
    return str(header.get(tags[0], "")).strip().upper() == "YES"


def _thumbnail(
    position: int,
    hu: NDArray[np.generic],
    spacing_mm: tuple[float, float],
    boxes: tuple[Box, ...] = (),
) -> Thumbnail:
    """Return a picture with square pixels, as large as `EDGE_PX` allows."""
    height_mm, width_mm = (n * step for n, step in zip(hu.shape, spacing_mm, strict=True))
    scale = EDGE_PX / max(height_mm, width_mm)
    size = max(1, round(width_mm * scale)), max(1, round(height_mm * scale))
    picture = Image.fromarray(bone_window(hu)).resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY)
    source = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    return Thumbnail(position, source, *size, boxes)
