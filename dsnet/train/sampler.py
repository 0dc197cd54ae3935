"""Which images make which batch: a pure function of seed and epoch."""

from dsnet.train.stream import Use, generator


def batches(images: int, batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Return every index below `images` once, in random order, cut into batches.

    The last batch may be smaller. A single image left over joins the batch before it: norms over
    pooled vectors cannot train on one image.

    Parameters
    ----------
    images : int
        At least 2.
    batch_size : int
        At least 2.
    seed, epoch : int
    """
    order = generator(Use.ORDER, seed, epoch).permutation(images).tolist()
    parts = [order[start : start + batch_size] for start in range(0, images, batch_size)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        single = parts.pop()
        parts[-1] += single
    return parts
