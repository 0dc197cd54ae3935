"""The pictures that the report shows, with the boxes of the images that are included."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dsnet.schemas import CLASSES
from dsnet.slices.store import SliceStore
from dsnet.slices.thumbnails import choose, picture, showable


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
    """The pictures, and of how many images.

    Attributes
    ----------
    thumbnails : list of Thumbnail
    candidates : int
        Images that might have been chosen.
    failed : int
        Images chosen whose file could not be read again, or forbids it.
    with_excluded : bool
        Whether there are pictures of excluded images.
    """

    thumbnails: list[Thumbnail]
    candidates: int
    failed: int
    with_excluded: bool


def gallery(
    ledger: pd.DataFrame,
    index: pd.DataFrame,
    store: SliceStore | None,
    excluded: pd.DataFrame | None,
    *,
    number: int,
) -> Gallery:
    """Return pictures of at most `number` images, chosen by `dsnet.slices.thumbnails.RULE`.

    Parameters
    ----------
    ledger, index : DataFrame
        Under `dsnet.schemas`, in the same order.
    store : SliceStore or None
        None where nothing is included.
    excluded : DataFrame or None
        `dsnet.schemas.THUMBNAILS`; without it only included images are shown.
    number : int
    """
    rows = {key: row for row, key in enumerate(store.image_keys)} if store else {}
    candidates = showable(ledger, index)
    if excluded is None:
        candidates &= ledger["status"] == "included"
    chosen = choose(ledger, candidates, number)
    files = {} if excluded is None else excluded.set_index("file_key").to_dict("index")
    shown: list[Thumbnail] = []
    for number_in_ledger in chosen:
        key, file_key = ledger.loc[number_in_ledger, ["image_key", "file_key"]]
        if store and ledger["status"][number_in_ledger] == "included":
            shown.append(_stored(number_in_ledger, store, rows[key]))
        elif file_key in files:
            made = files[file_key]
            size = made["width_px"], made["height_px"]
            shown.append(Thumbnail(number_in_ledger, _uri(made["jpeg_base64"]), *size))
    return Gallery(shown, int(candidates.sum()), len(chosen) - len(shown), excluded is not None)


def _stored(number: int, store: SliceStore, row: int) -> Thumbnail:
    image = store.image(row)
    names = [CLASSES[label - 1] for label in store.labels(row)]
    edges = np.round(store.boxes(row) / len(image), 4).astype(float).tolist()
    boxes = tuple(
        Box(*edge, level, name)
        for edge, level, name in zip(edges, store.levels(row), names, strict=True)
    )
    width, height, jpeg = picture(image, (1.0, 1.0))
    return Thumbnail(number, _uri(jpeg), width, height, boxes)


def _uri(jpeg_base64: str) -> str:
    return f"data:image/jpeg;base64,{jpeg_base64}"
