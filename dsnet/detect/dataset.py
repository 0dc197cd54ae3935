"""The images of one subset of the split, from stored Hounsfield units to what the network sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dsnet import slice_tables as schemas
from dsnet.config.detector import Window
from dsnet.errors import UserError
from dsnet.slices import SliceStore

Augmentation = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
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


class Negatives(Dataset[Example]):
    """The images of one subset that show no body of L1 to L4; there may be none.

    Parameters
    ----------
    subset : str
        One of `schemas.SUBSETS`.
    store, table : Path
        As `dsnet.slices.negatives.store_negatives` wrote them.
    windows : sequence of Window

    Attributes
    ----------
    table : DataFrame
        The rows of `schemas.NEGATIVES` that are of this subset.
    """

    def __init__(self, subset: str, store: Path, table: Path, windows: Sequence[Window]) -> None:
        listed = schemas.read(schemas.NEGATIVES, table)
        self.table = listed[listed["subset"] == subset].reset_index(drop=True)
        self._images: NDArray[np.int16] = np.load(store, mmap_mode="r")
        self._windows = tuple(windows)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Example:
        """Return the image `index`, from 0, without boxes."""
        return self.augmented(index, lambda hu, boxes: (hu, boxes))

    def augmented(self, index: int, augmentation: Augmentation) -> Example:
        """Return the image `index` after `augmentation`."""
        image = self._images[self.table["row"][index]].astype(np.float32)
        hu, boxes = augmentation(torch.from_numpy(image), torch.zeros(0, 4))
        shown = apply_windows(hu, self._windows)
        labels = torch.zeros(0, dtype=torch.int64)
        return Example(self.table["image_key"][index], shown, boxes, labels)


class SliceDataset(Dataset[Example]):
    """The images of one subset, in the order of the store.

    Parameters
    ----------
    subset : str
        One of `schemas.SUBSETS`.
    store, boxes, split : Path
        The slice store, `schemas.SLICES` and `schemas.SPLIT`.
    windows : sequence of Window
    negatives : Negatives, optional
        Images without boxes, which `augmented` returns for the indices after the last of the
        images with boxes. They do not count in the data set's length.

    Attributes
    ----------
    boxes, split : DataFrame
        The rows of both tables that are of this subset.
    negatives : Negatives or None

    Raises
    ------
    UserError
        If the subset is empty.
    """

    def __init__(
        self,
        subset: str,
        *,
        store: Path,
        boxes: Path,
        split: Path,
        windows: Sequence[Window],
        negatives: Negatives | None = None,
    ) -> None:
        self.negatives = negatives
        self._store = SliceStore(store, boxes)
        self._windows = tuple(windows)
        images = schemas.read(schemas.SPLIT, split)
        annotated = schemas.read(schemas.SLICES, boxes)
        self.split = images[images["subset"] == subset]
        self.boxes = annotated[annotated["image_key"].isin(self.split["image_key"])]
        self._rows = self.boxes["row"].drop_duplicates().tolist()
        if not self._rows:
            raise UserError(
                split.name,
                expected=f"images in the subset {subset!r}, one of {', '.join(schemas.SUBSETS)}",
                came="none",
                remedy="change the fractions of the split, or name another subset",
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        """Return the image `index`, from 0, with its boxes."""
        return self.augmented(index, lambda hu, boxes: (hu, boxes))

    def augmented(self, index: int, augmentation: Augmentation) -> Example:
        """Return the image `index` after `augmentation`, which acts before windows cut the HU."""
        if self.negatives is not None and index >= len(self):
            return self.negatives.augmented(index - len(self), augmentation)
        row = self._rows[index]
        hu, boxes = augmentation(
            torch.from_numpy(self._store.image(row).astype(np.float32)),
            torch.from_numpy(self._store.boxes(row).copy()),
        )
        return Example(
            self._store.image_keys[row],
            apply_windows(hu, self._windows),
            boxes,
            torch.from_numpy(self._store.labels(row).copy()),
        )


def apply_windows(hu: Tensor | NDArray[np.int16], windows: Sequence[Window]) -> Tensor:
    """Return three channels in [0, 1]; the detector itself normalises them as torchvision does.

    docs/interpretations.md#21

    Parameters
    ----------
    hu : float32 or int16 (height, width)
        Hounsfield units.
    windows : sequence of Window
        One, which all channels share, or three.

    Returns
    -------
    Tensor
        float32 (3, height, width).

    Examples
    --------
    >>> hu = np.array([[-450, 300, 1050, 3000]], dtype=np.int16)
    >>> apply_windows(hu, [Window(centre_hu=300, width_hu=1500)])[0]
    tensor([[0.0000, 0.5000, 1.0000, 1.0000]])
    """
    values = hu if isinstance(hu, Tensor) else torch.from_numpy(hu.astype(np.float32))
    channels = []
    for window in windows:
        low_hu = window.centre_hu - window.width_hu / 2
        channels.append(((values - low_hu) / window.width_hu).clamp(0, 1))
    return torch.stack(channels if len(channels) == 3 else channels * 3)
