"""Which slice of each class stands in Figure 4: a rule that knows no prediction."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsnet.schemas import CLASSES
from dsnet.slices.store import SliceStore

LEVEL_ORDER = ("L3", "L2", "L4", "L1")
"""Levels from which a slice is taken: the first of these that the class has."""

RULE = (
    "of each class, among the test slices of L3 (if it has none, of L2, then L4, then L1), the one "
    "whose mean HU in the middle half of the annotated box is the median (the lower of two)"
)
"""What `choose` does, in words."""

_Key = tuple[float, tuple[float, ...], str]


@dataclass(frozen=True)
class Chosen:
    """One slice of the store, and the box for which it was chosen.

    Attributes
    ----------
    row : int
        Of the store.
    label : str
        Class of the box.
    level : str
        Level of the box.
    """

    row: int
    label: str
    level: str


def choose(store: SliceStore, image_keys: Collection[str]) -> list[Chosen]:
    """Return the slice of each class that `RULE` names; a class without slices has none.

    Equals are told apart by the box and then by the pixels: neither the order of the store nor the
    pseudonyms decide.

    Parameters
    ----------
    store : SliceStore
    image_keys : collection of str
        Images to choose from.
    """
    candidates: dict[tuple[str, str], list[tuple[_Key, int]]] = {}
    for row, image_key in enumerate(store.image_keys):
        if image_key not in image_keys:
            continue
        boxes = zip(store.boxes(row), store.labels(row), store.levels(row), strict=True)
        for box, label, level in boxes:
            place = CLASSES[label - 1], level
            candidates.setdefault(place, []).append((_key(store.image(row), box), row))
    return [
        Chosen(_median(candidates[place]), *place)
        for label in CLASSES
        for place in [(label, level) for level in LEVEL_ORDER if (label, level) in candidates][:1]
    ]


def core_hu(hu: NDArray[np.int16], box: NDArray[np.float32]) -> float:
    """Return the mean HU of the pixels whose centre lies in the middle half of a box.

    Parameters
    ----------
    hu : int16 (height, width)
    box : float32 (4,)
        Edges in pixels, as `dsnet.schemas.BOX`.
    """
    x_min, y_min, x_max, y_max = (float(edge) for edge in box)
    rows = _middle(y_min, y_max, hu.shape[0])
    columns = _middle(x_min, x_max, hu.shape[1])
    return float(hu[np.ix_(rows, columns)].mean())


def _middle(low: float, high: float, size_px: int) -> NDArray[np.int64]:
    """Return the pixels of one axis in the middle half of [low, high]; at least the middle one."""
    quarter = (high - low) / 4
    first, last = round(low + quarter), round(high - quarter)
    return np.arange(max(first, 0), min(max(last, first + 1), size_px))


def _key(hu: NDArray[np.int16], box: NDArray[np.float32]) -> _Key:
    edges = tuple(float(edge) for edge in box)
    return core_hu(hu, box), edges, hashlib.sha256(hu.tobytes()).hexdigest()


def _median(candidates: Sequence[tuple[_Key, int]]) -> int:
    ordered = sorted(candidates, key=lambda candidate: candidate[0])
    return ordered[(len(ordered) - 1) // 2][1]
