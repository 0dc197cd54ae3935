"""From stored Hounsfield units to what the network sees (docs/interpretations.md#21)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsnet.config.detector import Window


def apply_windows(hu: NDArray[np.int16 | np.float32], windows: Sequence[Window]) -> Tensor:
    """Return three channels in [0, 1]; the detector itself normalises them as torchvision does.

    Parameters
    ----------
    hu : int16 or float32 (height, width)
        Hounsfield units.
    windows : sequence of Window
        One, which all channels share, or three.

    Returns
    -------
    Tensor
        float32 (3, height, width).
    """
    values = torch.from_numpy(hu.astype(np.float32))
    channels = [_scale(values, window) for window in windows]
    return torch.stack(channels if len(channels) == 3 else channels * 3)


def _scale(hu: Tensor, window: Window) -> Tensor:
    low = window.centre_hu - window.width_hu / 2
    return ((hu - low) / window.width_hu).clamp(0, 1)
