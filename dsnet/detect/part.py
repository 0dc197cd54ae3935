"""The images of one part of the split, as the network wants them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dsnet import schemas
from dsnet.config.detector import Window
from dsnet.detect.window import apply_windows
from dsnet.errors import UserError
from dsnet.slices.store import SliceStore

Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From an image in HU, float32 (height, width), and its boxes to others of the same shapes."""


@dataclass(frozen=True)
class Example:
    """One image with its boxes.

    Attributes
    ----------
    image_key : str
    image : float32 (3, height, width)
        In [0, 1].
    boxes : float32 (objects, 4)
        Edges as in `schemas.BOX`; there may be none.
    labels : int64 (objects,)
        1 + index into `schemas.CLASSES`; 0 is the background.
    """

    image_key: str
    image: Tensor
    boxes: Tensor
    labels: Tensor

    def target(self) -> dict[str, Tensor]:
        """Return the boxes and labels as torchvision's detectors want them."""
        return {"boxes": self.boxes, "labels": self.labels}


class Part:
    """The images of one part of the split, in the order of the store.

    Parameters
    ----------
    name : str
        One of `schemas.SUBSETS`.
    store, boxes, split : Path
        The slice store, `schemas.SLICES` and `schemas.SPLIT`.
    windows : sequence of Window

    Attributes
    ----------
    boxes, split : DataFrame
        The rows of both tables that are of this part.

    Raises
    ------
    UserError
        If the part is empty.
    """

    def __init__(
        self, name: str, *, store: Path, boxes: Path, split: Path, windows: Sequence[Window]
    ) -> None:
        self._store = SliceStore(store, boxes)
        self._windows = tuple(windows)
        parts = schemas.read(schemas.SPLIT, split)
        drawn = schemas.read(schemas.SLICES, boxes)
        self.split = parts[parts["subset"] == name]
        self.boxes = drawn[drawn["image_key"].isin(self.split["image_key"])]
        self._rows = self.boxes["row"].drop_duplicates().tolist()
        if not self._rows:
            raise UserError(
                split.name,
                expected=f"images in the part {name!r}, one of {', '.join(schemas.SUBSETS)}",
                came="none",
                remedy="change the fractions of the split, or name another part",
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        """Return the image `index`, from 0, with its boxes."""
        return self.shown(index, lambda hu, boxes: (hu, boxes))

    def shown(self, index: int, change: Change) -> Example:
        """Return the image `index` after `change`, which acts before the window cuts."""
        row = self._rows[index]
        hu, boxes = change(
            torch.from_numpy(self._store.image(row).astype(np.float32)),
            torch.from_numpy(self._store.boxes(row).copy()),
        )
        return Example(
            self._store.image_keys[row],
            apply_windows(hu.numpy(), self._windows),
            boxes,
            torch.from_numpy(self._store.labels(row).copy()),
        )
