"""The training step of the small detector, which learns from every region: nothing is at random."""

from torch import Tensor

from dsnet.detect import heads, regions
from dsnet.step import run
from dsnet.train.step import train
from support.small_training import use_small_detector


def every(labels: Tensor, _count: int, _positive_fraction: float) -> tuple[Tensor, Tensor]:
    """Return all regions in place of `dsnet.detect.regions.sample`."""
    return labels > regions.BACKGROUND, labels == regions.BACKGROUND


if __name__ == "__main__":
    use_small_detector()
    regions.sample = heads.sample = every
    run(train)
