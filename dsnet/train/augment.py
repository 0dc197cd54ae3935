"""Augmentation of training images and their boxes; no change can alter the class.

Pure functions of (seed, epoch, index). All act on Hounsfield units, before a window cuts them, so
that noise on air stays air.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from dsnet.config.detector import Train
from dsnet.slices.store import AIR_HU
from dsnet.train.data import Stream, generator

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
    for share in _ATTEMPTS:
        matrix = _matrix(angle_deg * share, 1 + (scale - 1) * share)
        moved = _moved(boxes, matrix, hu.shape)
        if _on_grid(moved, hu.shape):
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


def _on_grid(boxes: Tensor, shape: torch.Size) -> bool:
    height, width = shape
    limits = torch.tensor([width, height, width, height])
    return bool(((boxes >= 0) & (boxes <= limits)).all())


def _resampled(hu: Tensor, matrix: Tensor) -> Tensor:
    """Return the image with `matrix` applied to its content, linear between pixels."""
    height, width = hu.shape
    # torch measures both axes from -1 to 1, regardless of their length, and takes the inverse.
    aspect = torch.tensor([[1.0, height / width], [width / height, 1.0]])
    inverse = torch.cat([torch.linalg.inv(matrix) * aspect, torch.zeros(2, 1)], dim=1)
    grid = functional.affine_grid(inverse[None], [1, 1, height, width], align_corners=False)
    above_air = functional.grid_sample((hu - AIR_HU)[None, None], grid, align_corners=False)
    return above_air[0, 0] + AIR_HU
