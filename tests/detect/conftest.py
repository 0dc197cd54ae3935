"""Small images for whole detectors."""

import pytest
import torch
from torch import Tensor

SIZE_PX = 64


@pytest.fixture
def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.rand(3, SIZE_PX, SIZE_PX, generator=generator) for _ in range(2)]


@pytest.fixture
def targets() -> list[dict[str, Tensor]]:
    return [
        {"boxes": torch.tensor([[10.0, 12.0, 40.0, 36.0]]), "labels": torch.tensor([2])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
