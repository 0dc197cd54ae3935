"""What a training sees: the images of each batch, their augmentation, and the weight of a class.

Pure functions of seed, epoch and index: nothing depends on what ran before, so that a resumed
training sees what an uninterrupted one would.

No augmentation can alter the class. All act on Hounsfield units, before a window cuts them, so that
noise on air stays air.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dsnet.config.detector import Train
from dsnet.detect.dataset import Example, SliceDataset
from dsnet.slice_tables import CLASSES
from dsnet.slices import AIR_HU

_LOADING_THREADS = 4


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


_ATTEMPTS = (1.0, 0.5, 0.25)  # shares of a change that would push a box off the grid


def augment(
    hu: Tensor, boxes: Tensor, config: Train, *, seed: int, epoch: int, index: int
) -> tuple[Tensor, Tensor]:
    """Return the image and its boxes as the network sees them in this epoch.

    Parameters
    ----------
    hu : float32 (height, width)
        Hounsfield units.
    boxes : float32 (objects, 4)
        Edges x_min, y_min, x_max, y_max in pixels.
    config : Train
        The largest change of each kind; changes are uniform up to it. All random numbers are taken
        whether used or not, so that switching one kind on leaves the others as they were.
    seed, epoch, index : int
        Of the training, and the index of the image.
    """
    random = generator(Stream.AUGMENT, seed, epoch, index)
    flipped = random.random() < config.flip_probability
    rotation, growth, shift = random.uniform(-1, 1, size=3)
    noise_level = random.random()
    hu, boxes = rotate(
        hu,
        boxes,
        angle_deg=config.rotation_deg * rotation,
        scale=1 + config.scale_fraction * growth,
    )
    if flipped:
        hu, boxes = flip(hu, boxes)
    if config.noise_hu > 0:
        noise = random.standard_normal(tuple(hu.shape), dtype="float32")
        hu = hu + config.noise_hu * noise_level * torch.from_numpy(noise)
    return hu + config.shift_hu * shift, boxes


def flip(hu: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return image and boxes mirrored left to right."""
    x_min, y_min, x_max, y_max = boxes.unbind(dim=1)
    width = hu.shape[-1]
    return hu.flip(-1), torch.stack([width - x_max, y_min, width - x_min, y_max], dim=1)


def rotate(hu: Tensor, boxes: Tensor, *, angle_deg: float, scale: float) -> tuple[Tensor, Tensor]:
    """Return image and boxes rotated and scaled about the middle of the grid.

    A box becomes the bounding box of its rotated inscribed ellipse, which a vertebral body nearly
    fills; that of the rotated rectangle would grow with every degree. A change that would push a
    box over the edge is halved, at most twice, and then left out: no vertebra is cut or lost.

    Parameters
    ----------
    hu : float32 (height, width)
    boxes : float32 (objects, 4)
    angle_deg : float
        From the x axis towards the y axis, so clockwise as an image is seen.
    scale : float
        Above 1, the image grows. Pixels from beyond the grid are air.
    """
    if angle_deg == 0 and scale == 1:
        return hu, boxes
    limits = torch.tensor(hu.shape).flip(0).repeat(2)
    for share in _ATTEMPTS:
        matrix = _matrix(angle_deg * share, 1 + (scale - 1) * share)
        moved = _moved(boxes, matrix, hu.shape)
        if ((moved >= 0) & (moved <= limits)).all():
            return _resampled(hu, matrix), moved
    return hu, boxes


def _matrix(angle_deg: float, scale: float) -> Tensor:
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return scale * torch.tensor([[cosine, -sine], [sine, cosine]])


def _moved(boxes: Tensor, matrix: Tensor, shape: torch.Size) -> Tensor:
    """Return the boxes around the ellipses: their half edges are sqrt((M o M) half^2)."""
    middle = torch.tensor([shape[1] / 2, shape[0] / 2])
    low, high = boxes[:, :2], boxes[:, 2:]
    centre = ((low + high) / 2 - middle) @ matrix.T + middle
    half = (((high - low) / 2).square() @ matrix.square().T).sqrt()
    return torch.cat([centre - half, centre + half], dim=1)


def _resampled(hu: Tensor, matrix: Tensor) -> Tensor:
    """Return the image with `matrix` applied to its content, linear between pixels."""
    height, width = hu.shape
    # torch measures both axes from -1 to 1, regardless of their length, and takes the inverse.
    aspect = torch.tensor([[1.0, height / width], [width / height, 1.0]])
    inverse = torch.cat([torch.linalg.inv(matrix) * aspect, torch.zeros(2, 1)], dim=1)
    grid = functional.affine_grid(inverse[None], [1, 1, height, width], align_corners=False)
    above_air = functional.grid_sample((hu - AIR_HU)[None, None], grid, align_corners=False)
    return above_air[0, 0] + AIR_HU


def loaded(
    training: SliceDataset,
    shares: Sequence[Sequence[int]],
    config: Train,
    device: torch.device,
    *,
    seed: int,
    epoch: int,
) -> Iterator[list[Example]]:
    """Yield the examples of each batch; beside a GPU, those of the next are made meanwhile."""
    change = partial(augment, config=config, seed=seed, epoch=epoch)

    def load(share: Sequence[int]) -> list[Example]:
        return [training.augmented(index, partial(change, index=index)) for index in share]

    if device.type == "cpu":  # which has no time to spare
        yield from map(load, shares)
        return
    with ThreadPoolExecutor(_LOADING_THREADS) as pool:
        ahead = deque(pool.submit(load, share) for share in shares[:_LOADING_THREADS])
        for share in [*shares[_LOADING_THREADS:], *[None] * len(ahead)]:
            examples = ahead.popleft().result()
            if share is not None:
                ahead.append(pool.submit(load, share))
            yield examples


def on_device(
    examples: Sequence[Example], device: torch.device
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Return the images and targets on `device`, each kind sent at once."""
    counts = [len(example.labels) for example in examples]
    images, boxes, labels = (
        values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values
        for values in (
            torch.stack([example.image for example in examples]),
            torch.cat([example.boxes for example in examples]),
            torch.cat([example.labels for example in examples]),
        )
    )
    targets = [
        {"boxes": own, "labels": label}
        for own, label in zip(torch.split(boxes, counts), torch.split(labels, counts), strict=True)
    ]
    return list(images), targets
