"""Which images make which batch: a pure function of seed and epoch."""

from dsnet.train.stream import Use, generator

PER_DEVICE = 2
"""Images of a batch that each device needs: norms over pooled vectors cannot train on one."""


def batches(
    images: int, batch_size: int, *, seed: int, epoch: int, smallest: int = PER_DEVICE
) -> list[list[int]]:
    """Return every index below `images` once, in random order, cut into batches.

    The last batch may be smaller than the others, but for fewer than `smallest` images, which join
    the batch before it.

    Parameters
    ----------
    images : int
        At least `smallest`.
    batch_size : int
        At least `smallest`.
    seed, epoch : int
    smallest : int
        `PER_DEVICE` times the number of devices.
    """
    order = generator(Use.ORDER, seed, epoch).permutation(images).tolist()
    parts = [order[start : start + batch_size] for start in range(0, images, batch_size)]
    if len(parts) > 1 and len(parts[-1]) < smallest:
        rest = parts.pop()
        parts[-1] += rest
    return parts


def share(batch: list[int], rank: int, world: int) -> list[int]:
    """Return what device `rank` of `world` sees of a batch; all of them together see all of it."""
    return batch[rank::world]
