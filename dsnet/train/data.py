"""Which images each batch holds, and how much each class weighs.

Pure functions of seed and epoch: nothing depends on what ran before, so that a resumed training
sees what an uninterrupted one would.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from dsnet.config.detector import Train
from dsnet.detect.dataset import SliceDataset
from dsnet.slice_tables import CLASSES


class Stream(IntEnum):
    """What a random stream is for; the numbers are part of every result."""

    ORDER = 0
    AUGMENT = 1
    PROPOSALS = 2
    BALANCE = 3
    NEGATIVES = 4


def generator(stream: Stream, *key: int) -> np.random.Generator:
    """Return the generator of a stream for one key, such as (seed, epoch, index)."""
    return np.random.default_rng((int(stream), *key))


def torch_seed(stream: Stream, *key: int) -> int:
    """Return a seed for torch's global generator, for one key of a stream."""
    return int(np.random.SeedSequence((int(stream), *key)).generate_state(1, np.uint64)[0] >> 1)


def class_weights(dataset: SliceDataset, config: Train) -> tuple[float, ...] | None:
    """Return how much each of `CLASSES` weighs in the class loss; None if all weigh the same.

    The weight of a class is inverse to the number of its boxes, and the mean over the classes that
    occur is 1. A class without boxes has weight 0. docs/interpretations.md#12
    """
    if config.balance != "weighted":
        return None
    boxes = dataset.boxes["label"].value_counts()
    inverse = [1 / boxes[name] if name in boxes else 0.0 for name in CLASSES]
    mean = sum(inverse) / np.count_nonzero(inverse)
    return tuple(float(one / mean) for one in inverse)


def image_classes(dataset: SliceDataset) -> list[str]:
    """Return the class of each image: that of its patient, as in `schemas.SPLIT`."""
    of_image = dataset.split.set_index("image_key")["stratum"]
    keys = dataset.boxes["image_key"].drop_duplicates()
    return keys.map(of_image).tolist()


def epoch_images(classes: Sequence[str], config: Train, *, seed: int, epoch: int) -> list[int]:
    """Return the indices of the images that an epoch uses, ascending; each epoch uses as many.

    With ``balance: downsample`` (docs/interpretations.md#12) these are as many images of each class
    as the rarest has, sampled again in each epoch, so that no image is lost to the training.

    Parameters
    ----------
    classes : sequence of str
        Of each image.
    config : Train
    seed, epoch : int
    """
    if config.balance != "downsample":
        return list(range(len(classes)))
    random = generator(Stream.BALANCE, seed, epoch)
    named = np.array(classes)
    indices = [np.flatnonzero(named == name) for name in CLASSES if name in classes]
    rarest = min(len(of_class) for of_class in indices)
    sampled = [random.choice(of_class, rarest, replace=False) for of_class in indices]
    return sorted(np.concatenate(sampled).tolist())


def epoch_batches(
    images: Sequence[int], batch_size: int, *, seed: int, epoch: int, devices: int = 1
) -> list[list[int]]:
    """Return `images` in random order, cut into batches that all devices share.

    The last batch may be smaller than the others; one with fewer than `least_images` for each
    device joins the batch before it.

    Parameters
    ----------
    images : sequence of int
        At least `least_images` for each device.
    batch_size : int
        At least `least_images` for each device.
    seed, epoch : int
    devices : int

    Examples
    --------
    >>> [len(batch) for batch in epoch_batches(range(9), 4, seed=0, epoch=0)]
    [4, 5]
    """
    order = generator(Stream.ORDER, seed, epoch).permutation(len(images)).tolist()
    batches = [
        [images[index] for index in order[start : start + batch_size]]
        for start in range(0, len(order), batch_size)
    ]
    if len(batches) > 1 and len(batches[-1]) < least_images(devices) * devices:
        rest = batches.pop()
        batches[-1] += rest
    return batches


def negatives_per_batch(config: Train) -> int:
    """Return how many images of a batch show no L1 to L4, by ``train.negatives``."""
    return min(round(config.negatives * config.batch_size), config.batch_size - 2)


def with_negatives(
    batches: Sequence[Sequence[int]], first: int, count: int, each: int, *, seed: int, epoch: int
) -> list[list[int]]:
    """Return the batches with so many negatives added to each, in turn in random order.

    Parameters
    ----------
    batches : sequence of sequence of int
        Indices of images with boxes.
    first, count : int
        Index of the first negative, and how many there are; without any, batches stay as they are.
    each : int
        Negatives added to each batch.
    seed, epoch : int

    Examples
    --------
    >>> with_negatives([[0, 1], [2]], 3, 1, 1, seed=0, epoch=0)
    [[0, 1, 3], [2, 3]]
    """
    if not count:
        return [list(batch) for batch in batches]
    order = generator(Stream.NEGATIVES, seed, epoch).permutation(count)
    return [
        [*batch, *(first + int(order[(number * each + n) % count]) for n in range(each))]
        for number, batch in enumerate(batches)
    ]


def least_images(devices: int) -> int:
    """Return how many images a batch needs on each of so many devices.

    Norms over pooled vectors cannot train on one image. Of several devices each has work enough.
    """
    return 2 if devices == 1 else 4


def device_share(batch: Sequence[int], rank: int, devices: int) -> list[int]:
    """Return the images of a batch that device `rank` of `devices` sees; together they see all."""
    return list(batch[rank::devices])
