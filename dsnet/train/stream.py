"""Random streams told apart by what they are for, so that none hangs on what ran before."""

from enum import IntEnum

import numpy as np


class Use(IntEnum):
    """What a stream is for; the numbers are part of every result."""

    ORDER = 0
    AUGMENT = 1
    SAMPLE = 2
    BALANCE = 3


def generator(use: Use, *place: int) -> np.random.Generator:
    """Return the generator of one place, such as (seed, epoch, index)."""
    return np.random.default_rng((int(use), *place))


def torch_seed(use: Use, *place: int) -> int:
    """Return a seed for torch's global generator at one place."""
    return int(np.random.SeedSequence((int(use), *place)).generate_state(1, np.uint64)[0] >> 1)
