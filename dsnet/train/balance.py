"""What is done against unequal numbers of each class, in the training part alone.

docs/interpretations.md#12
"""

from collections.abc import Sequence

import numpy as np

from dsnet.config.detector import Train
from dsnet.detect.dataset import SliceDataset
from dsnet.schemas import CLASSES
from dsnet.train.stream import Use, generator


def class_weights(part: SliceDataset, config: Train) -> tuple[float, ...] | None:
    """Return how much each of `CLASSES` weighs in the class loss; None if all weigh the same.

    The weight of a class is inverse to the number of its boxes, and the mean over the classes that
    occur is 1. One that does not occur weighs nothing.
    """
    if config.balance != "weighted":
        return None
    boxes = part.boxes["label"].value_counts()
    shares = [1 / boxes[name] if name in boxes else 0.0 for name in CLASSES]
    mean = sum(shares) / np.count_nonzero(shares)
    return tuple(float(share / mean) for share in shares)


def strata(part: SliceDataset) -> list[str]:
    """Return the class of each image: that of its patient, as in `schemas.SPLIT`."""
    of_image = part.split.set_index("image_key")["stratum"]
    keys = part.boxes["image_key"].drop_duplicates()
    return keys.map(of_image).tolist()


def downsample(classes: Sequence[str], *, seed: int, epoch: int) -> list[int]:
    """Return the indices of as many images of each class as the rarest has, ascending.

    Each epoch draws anew, so that no image is lost to the training, and all epochs are as long.

    Parameters
    ----------
    classes : sequence of str
        Of each image.
    seed, epoch : int
    """
    random = generator(Use.BALANCE, seed, epoch)
    named = np.array(classes)
    places = [np.flatnonzero(named == name) for name in CLASSES if name in classes]
    rarest = min(len(of_class) for of_class in places)
    drawn = [random.choice(of_class, rarest, replace=False) for of_class in places]
    return sorted(np.concatenate(drawn).tolist())
