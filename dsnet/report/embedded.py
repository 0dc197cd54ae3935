"""What the page's script shows: the ledger in columns, each text once, and pictures of images."""

import base64
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dsnet.audit.explain import remedy
from dsnet.report.counts import Tables, words
from dsnet.schemas import CLASSES
from dsnet.slices.store import SliceStore
from dsnet.slices.thumbnails import choose, picture, showable

COLUMNS = (
    "patient_key",
    "series_key",
    "criterion",
    "evidence",
    "decided_by",
    "all_criteria",
    "level",
)
"""Of the ledger, with the level that a slice shows."""


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
        `dsnet.schemas.THUMBNAILS`; without it only included images are chosen.
    number : int
    """
    rows = {key: row for row, key in enumerate(store.image_keys)} if store else {}
    candidates = showable(ledger, index)
    if excluded is None:
        candidates &= ledger["status"] == "included"
    chosen = choose(ledger, candidates, number)
    files = {} if excluded is None else excluded.set_index("file_key").to_dict("index")
    thumbnails: list[Thumbnail] = []
    for ledger_row in chosen:
        key, file_key = ledger.loc[ledger_row, ["image_key", "file_key"]]
        if store and ledger["status"][ledger_row] == "included":
            thumbnails.append(_of_slice(ledger_row, store, rows[str(key)]))
        elif file_key in files:
            made = files[file_key]
            size = made["width_px"], made["height_px"]
            thumbnails.append(Thumbnail(ledger_row, _uri(made["jpeg_base64"]), *size))
    failed = len(chosen) - len(thumbnails)
    return Gallery(thumbnails, int(candidates.sum()), failed, excluded is not None)


def _of_slice(ledger_row: int, store: SliceStore, row: int) -> Thumbnail:
    image = store.image(row)
    names = [CLASSES[label - 1] for label in store.labels(row)]
    edges = np.round(store.boxes(row) / len(image), 4).astype(float).tolist()
    boxes = tuple(
        Box(x_min, y_min, x_max, y_max, level, name)
        for (x_min, y_min, x_max, y_max), level, name in zip(
            edges, store.levels(row), names, strict=True
        )
    )
    width, height, jpeg = picture(image, (1.0, 1.0))
    return Thumbnail(ledger_row, _uri(jpeg), width, height, boxes)


def _uri(jpeg_base64: str) -> str:
    return f"data:image/jpeg;base64,{jpeg_base64}"


def embed(tables: Tables, exams: pd.DataFrame, pictures: Gallery) -> dict[str, Any]:
    """Return everything that the page's script shows, ready for JSON.

    Parameters
    ----------
    tables : Tables
    exams : DataFrame
        `dsnet.schemas.EXAMS`.
    pictures : Gallery

    Returns
    -------
    dict
        ``files`` and ``patients``, each with the number of its ``rows`` and its ``columns`` (see
        `column`; ``keys`` of ``files`` as `keys` packs them); ``criteria`` in order;
        ``thumbnails`` by row of the ledger.
    """
    ledger = tables.ledger
    labelled = zip(tables.labels["image_key"], tables.labels["level"], strict=True)
    levels = _joined(labelled, " ")
    ledger = ledger.assign(level=[levels.get(key, "") for key in ledger["image_key"]])
    ledger.loc[ledger["status"] == "excluded", "level"] = ""
    patients = patient_table(tables, exams)
    return {
        "files": {
            "rows": len(ledger),
            "keys": {name: keys(ledger[name]) for name in ("file_key", "image_key")},
            "columns": {name: column(ledger[name]) for name in COLUMNS},
        },
        "patients": {
            "rows": len(patients),
            "keys": {},
            "columns": {name: column(patients[name].astype(str)) for name in patients},
        },
        "criteria": [
            {
                **{name: step[name] for name in ("slug", "code", "reason", "threshold")},
                "words": words(step["slug"]),
                "remedy": remedy(step["slug"]),
            }
            for step in tables.flow["steps"]
        ],
        "thumbnails": {one.row: asdict(one) for one in pictures.thumbnails},
    }


def patient_table(tables: Tables, exams: pd.DataFrame) -> pd.DataFrame:
    """Return one row per patient, in the order of ``exclusions.csv``.

    Returns
    -------
    DataFrame
        ``patient_key``, ``criterion``, ``n_files`` and ``n_included``; ``interval_days`` from the
        DXA exam that grades a study to the CT, of several studies separated by commas; ``subset``
        and ``stratum``, "" where there is none.
    """
    pairs = tables.split[["patient_key", "subset"]].drop_duplicates().sort_values("subset")
    subsets = _joined(zip(pairs["patient_key"], pairs["subset"], strict=True), " and ")
    strata = dict(zip(tables.split["patient_key"], tables.split["stratum"], strict=True))
    nearest = exams.loc[exams["interval_days"] != ""].query("status == 'nearest'")
    days = _joined(zip(nearest["patient_key"], nearest["interval_days"], strict=True), ", ")
    rows = tables.exclusions[["patient_key", "criterion", "n_files", "n_included"]]
    return rows.assign(
        interval_days=[days.get(key, "") for key in rows["patient_key"]],
        subset=[subsets.get(key, "") for key in rows["patient_key"]],
        stratum=[strata.get(key, "") for key in rows["patient_key"]],
    )


def keys(pseudonyms: "pd.Series[str]") -> str:
    """Return the 16 digits of each pseudonym as 8 bytes, all in base64."""
    digits = "".join(key[2:] if key else "0" * 16 for key in pseudonyms)
    return base64.b64encode(bytes.fromhex(digits)).decode("ascii")


def column(texts: "pd.Series[str]") -> dict[str, Any]:
    """Return a column as its distinct texts, and the index of each row's own.

    Returns
    -------
    dict
        ``values``, list of str in order of first use; ``bits``, 16 or 32; ``codes``, unsigned
        little-endian integers of so many bits, in base64.
    """
    codes, values = pd.factorize(texts)
    bits = 16 if len(values) < 1 << 16 else 32
    packed: NDArray[Any] = codes.astype(np.dtype(f"<u{bits // 8}"))
    return {
        "values": [str(value) for value in values],
        "bits": bits,
        "codes": base64.b64encode(packed.tobytes()).decode("ascii"),
    }


def _joined(pairs: Iterable[tuple[str, str]], separator: str) -> dict[str, str]:
    """Return all texts of each key, in order."""
    joined: dict[str, str] = {}
    for key, text in pairs:
        joined[key] = f"{joined[key]}{separator}{text}" if key in joined else text
    return joined
