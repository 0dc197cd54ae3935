"""The slice store: each labelled image once, as 16-bit HU on one in-plane grid; and reading it.

Images are mapped from the disk, their boxes beside them.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsnet import slice_tables as schemas
from dsnet.errors import UserError
from dsnet.slice_tables import BOX, CLASSES

AIR_HU = -1024
"""What lies outside the image, and the floor of all stored values."""


class SliceStore:
    """All stored images, by row; no image is read before it is asked for.

    Parameters
    ----------
    store, boxes : Path
        As `dsnet.slices.step.store_slices` wrote them.

    Attributes
    ----------
    images : numpy.ndarray of int16, shape (images, size_px, size_px)
        In HU; mapped read-only.
    image_keys, patient_keys : list of str
        By row.

    Raises
    ------
    UserError
        If the two files do not belong together.
    """

    def __init__(self, store: Path, boxes: Path) -> None:
        self._source = store, boxes
        table = schemas.read(schemas.SLICES, boxes)
        self.images: NDArray[np.int16] = np.load(store, mmap_mode="r")
        rows = table["row"].to_numpy()
        self._starts = np.searchsorted(rows, np.arange(len(self.images) + 1))
        if not self._is_whole(rows):
            raise UserError(
                boxes.name,
                expected=f"boxes for each of {len(self.images)} images in turn, as in {store.name}",
                came="others",
                remedy="delete both and run the workflow, which writes them together",
            )
        firsts = table.iloc[self._starts[:-1]]
        self.image_keys: list[str] = firsts["image_key"].tolist()
        self.patient_keys: list[str] = firsts["patient_key"].tolist()
        self._boxes = table[list(BOX)].to_numpy(np.float32)
        self._labels = table["label"].map(CLASSES.index).to_numpy(np.int64) + 1
        self._levels: list[str] = table["level"].tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple[type["SliceStore"], tuple[Path, Path]]:
        # A worker process maps the file again; the images would otherwise be copied to it.
        return SliceStore, self._source

    def image(self, row: int) -> NDArray[np.int16]:
        """Return one image in HU, a view of shape (size_px, size_px)."""
        image: NDArray[np.int16] = self.images[row]
        return image

    def boxes(self, row: int) -> NDArray[np.float32]:
        """Return the edges of an image's boxes, shape (k, 4), as `schemas.BOX`."""
        return self._boxes[self._span(row)]

    def labels(self, row: int) -> NDArray[np.int64]:
        """Return their classes, shape (k,): 1 to 3 in the order of `schemas.CLASSES`.

        0 is the detector's background and no box's label.
        """
        return self._labels[self._span(row)]

    def levels(self, row: int) -> list[str]:
        """Return their levels."""
        return self._levels[self._span(row)]

    def _span(self, row: int) -> slice:
        if row < 0:
            row += len(self)
        return slice(self._starts[row], self._starts[row + 1])

    def _is_whole(self, rows: NDArray[np.int64]) -> bool:
        """Return whether rows 0 to n - 1 occur, each at least once, in ascending order."""
        ascending = bool((np.diff(rows) >= 0).all())
        return (
            ascending and len(rows) == self._starts[-1] and bool((np.diff(self._starts) > 0).all())
        )
