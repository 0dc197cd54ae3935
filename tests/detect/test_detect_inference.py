from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from dsnet import schemas
from dsnet.config.detector import Attention, Backbone, Detector, Variant
from dsnet.detect.attention import Residual, residuals
from dsnet.detect.dataset import SliceDataset
from dsnet.detect.inference import branch_shares, freeze, predict
from dsnet.detect.model import build

pytestmark = pytest.mark.slow


def test_predictions_are_the_network_s_own_in_float32(ellipses: Any) -> None:
    config = Detector(weights="none", proposals=40)
    network = build(config, Variant(), size_px=64, pixel_mm=2.0).train()
    dataset = SliceDataset(
        "test",
        store=ellipses.store,
        boxes=ellipses.boxes,
        split=ellipses.split,
        windows=config.windows,
    )
    before = torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16):
        predictions = predict(network, dataset, batch_size=1)
    assert network.training
    assert torch.equal(torch.get_rng_state(), before)

    schemas.PREDICTIONS.validate(predictions)
    assert predictions.groupby("image_key").size().max() <= schemas.MAX_DETECTIONS
    assert predictions["score"].min() > schemas.SCORE_FLOOR
    chosen = [row[f"p_{row['label']}"] for row in predictions.to_dict("records")]
    assert chosen == predictions["score"].tolist()
    probabilities = predictions[["p_background", *(f"p_{name}" for name in schemas.CLASSES)]]
    pd.testing.assert_series_equal(
        probabilities.sum(axis=1), pd.Series(1.0, predictions.index), atol=1e-6
    )
    network.eval()
    for index in range(len(dataset)):
        with torch.no_grad():
            (expected,) = network([dataset[index].image])
        ours = predictions[predictions["image_key"] == dataset[index].image_key]
        assert ours[list(schemas.BOX)].to_numpy().tolist() == expected["boxes"].tolist()


def test_images_without_a_box_give_no_rows(ellipses: Any) -> None:
    network = build(Detector(weights="none", proposals=40), Variant(), size_px=64, pixel_mm=2.0)
    network.roi_heads.score_thresh = 1.0
    dataset = SliceDataset(
        "validation",
        store=ellipses.store,
        boxes=ellipses.boxes,
        split=ellipses.split,
        windows=Detector().windows,
    )
    predictions = predict(network, dataset)
    assert predictions.empty
    schemas.PREDICTIONS.validate(predictions)


def test_a_branch_is_measured_relative_to_its_input(ellipses: Any) -> None:
    config = Detector(weights="none", proposals=20)
    variant = Variant(backbone="mobilenet_v2", attention="se")
    network = build(config, variant, size_px=64, pixel_mm=2.0)
    files = {"store": ellipses.store, "boxes": ellipses.boxes, "split": ellipses.split}
    dataset = SliceDataset("test", windows=config.windows, **files)
    names = [f"backbone.body.attention_{site}" for site in ("1", "18")]
    assert branch_shares(network, dataset) == dict.fromkeys(names, 0.0)
    with torch.no_grad():
        for gamma, residual in zip((0.4, -1.0), residuals(network).values(), strict=True):
            residual.gamma.fill_(gamma)
            residual.module.excite.weight.zero_()  # so that the gate is a half everywhere
            residual.module.excite.bias.zero_()
    assert branch_shares(network, dataset) == pytest.approx(
        dict(zip(names, (0.2, 0.5), strict=True))
    )
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("backbone", "attention", "norm"),
    [
        ("resnet50", "ds", "batch"),
        ("resnet50", "sk", "frozen"),
        ("vgg16", "eca", "batch"),
        ("mobilenet_v2", "se", "batch"),
        ("mobilenet_v3_large", "ds", "frozen"),
    ],
)
def test_a_frozen_network_has_no_norms_and_the_same_outputs(
    backbone: Backbone, attention: Attention, norm: str
) -> None:
    torch.manual_seed(2)
    config = Detector(weights="none", proposals=20, norm=norm)
    variant = Variant(backbone=backbone, attention=attention)
    network = build(config, variant, size_px=64, pixel_mm=2.0).eval()
    norms = (nn.BatchNorm2d, FrozenBatchNorm2d)
    for module in network.modules():
        if isinstance(module, norms):
            for values in (module.running_mean, module.bias):
                nn.init.uniform_(values, -0.1, 0.1)
            for values in (module.running_var, module.weight):
                nn.init.uniform_(values, 0.8, 1.2)
        elif isinstance(module, Residual):
            nn.init.constant_(module.gamma, 0.5)
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        before = network.double().backbone(images)
        after = freeze(network).backbone(images)
    assert not any(isinstance(module, norms) for module in network.modules())
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)
