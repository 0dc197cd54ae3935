"""Changes to a training image that leave its class, boxes carried along.

Each is a pure function; whether it happens follows from (seed, epoch, index) alone.
"""

import torch
from torch import Tensor

from dsnet.config import Train
from dsnet.train.stream import Use, generator


def augment(
    image: Tensor, boxes: Tensor, config: Train, *, seed: int, epoch: int, index: int
) -> tuple[Tensor, Tensor]:
    """Return the image and its boxes as they are shown in this epoch.

    Parameters
    ----------
    image : float32 (channels, height, width)
    boxes : float32 (objects, 4)
        Edges x_min, y_min, x_max, y_max in pixels.
    config : Train
    seed, epoch, index : int
        Where in the training it stands; `index` is that of the image.
    """
    random = generator(Use.AUGMENT, seed, epoch, index)
    if random.random() < config.flip_probability:
        return flip(image, boxes)
    return image, boxes


def flip(image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return image and boxes mirrored left to right; twice is nothing."""
    x_min, y_min, x_max, y_max = boxes.unbind(dim=1)
    width = image.shape[-1]
    return image.flip(-1), torch.stack([width - x_max, y_min, width - x_min, y_max], dim=1)
