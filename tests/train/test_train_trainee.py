from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dsnet.config.detector import Detector, Train, Variant
from dsnet.detect.dataset import SliceDataset
from dsnet.detect.model import build
from dsnet.errors import UserError
from dsnet.train.trainee import Trainee

CONFIG = Train(batch_size=4, weight_decay=0.1)


class Sick(nn.Module):
    """A network whose loss is what it is told."""

    def __init__(self, loss: float) -> None:
        super().__init__()
        self.loss = nn.Parameter(torch.tensor(loss))

    def forward(self, _images: list[Tensor], _targets: list[Any]) -> dict[str, Tensor]:
        return {"loss_classifier": self.loss, "loss_box_reg": torch.tensor(1.0)}


@pytest.fixture
def part(ellipses: Any) -> SliceDataset:
    return SliceDataset(
        "train",
        store=ellipses.store,
        boxes=ellipses.boxes,
        split=ellipses.split,
        windows=Detector().windows,
    )


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_the_images(part: SliceDataset, loss: float) -> None:
    trainee = Trainee(Sick(loss), part, CONFIG, seed=0, fused=False)
    batch = [part[0], part[3]]
    with pytest.raises(UserError) as caught:
        trainee.training_step(batch, 0)
    message = str(caught.value)
    assert f"{part[0].image_key}, {part[3].image_key}" in message
    assert f"loss_classifier {loss}" in message


def test_gamma_does_not_decay(part: SliceDataset) -> None:
    network = build(Detector(), Variant(attention="se"), size_px=64, pixel_mm=2.0)
    (rest, scales) = (
        Trainee(network, part, CONFIG, seed=0, fused=True).configure_optimizers().param_groups
    )
    assert rest["weight_decay"] == 0.1
    assert scales["weight_decay"] == 0
    assert [tuple(gamma.shape) for gamma in scales["params"]] == [(), ()]
    assert len(rest["params"]) + 2 == len(list(network.parameters()))


def test_frozen_weights_are_not_optimised(part: SliceDataset) -> None:
    config = Detector(weights="coco")
    network = build(config, Variant(), size_px=64, pixel_mm=2.0)
    (group,) = (
        Trainee(network, part, CONFIG, seed=0, fused=True).configure_optimizers().param_groups
    )
    assert {id(p) for p in group["params"]} == {
        id(p) for p in network.parameters() if p.requires_grad
    }


def test_gradients_are_clipped_to_the_norm_of_the_config(part: SliceDataset) -> None:
    for limit, expected in ((0.0, 5.0), (2.0, 2.0), (9.0, 5.0)):
        network = nn.Linear(2, 1, bias=False)
        config = CONFIG.model_copy(update={"gradient_clip": limit})
        network.weight.grad = torch.tensor([[3.0, 4.0]])
        Trainee(network, part, config, seed=0, fused=False).configure_gradient_clipping()
        assert network.weight.grad.norm().item() == pytest.approx(expected, rel=1e-4)
