"""The whole detector against plain torchvision."""

from copy import deepcopy
from functools import cache

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FrozenBatchNorm2d

from dsnet.config import Attention, AttentionOptions, Detector, Variant
from dsnet.detect.attention import ATTENTION
from dsnet.detect.model import build, trainable_layers
from dsnet.errors import UserError

SIZE_PX, PIXEL_MM = 64, 2.0
SEED = 7


@cache
def built(attention: Attention, seed: int = SEED) -> FasterRCNN:
    config = Detector(loss="ce", proposals=50)
    variant = Variant(attention=attention)
    return build(config, variant, size_px=SIZE_PX, pixel_mm=PIXEL_MM, seed=seed)


@cache
def plain() -> FasterRCNN:
    torch.manual_seed(SEED)
    return fasterrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=4,
        rpn_anchor_generator=AnchorGenerator(
            ((8.0,), (16.0,), (24.0,), (32.0,), (48.0,)), ((0.5, 1.0, 2.0),) * 5
        ),
        min_size=SIZE_PX,
        max_size=SIZE_PX,
        rpn_pre_nms_top_n_train=50,
        rpn_pre_nms_top_n_test=50,
        rpn_post_nms_top_n_train=50,
        rpn_post_nms_top_n_test=50,
        box_batch_size_per_image=32,
        box_score_thresh=0.001,
    )


def outputs(network: FasterRCNN, images: list[Tensor]) -> list[dict[str, Tensor]]:
    network.eval()
    with torch.no_grad():
        found: list[dict[str, Tensor]] = network(images)
    return found


def test_none_is_plain_torchvision_weight_for_weight() -> None:
    ours, theirs = built("none").state_dict(), plain().state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_none_is_plain_torchvision_output_for_output(images: list[Tensor]) -> None:
    found, expected = outputs(built("none"), images), outputs(plain(), images)
    assert all(len(one["boxes"]) > 5 for one in expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        chosen = ours["probabilities"].gather(1, ours["labels"][:, None])[:, 0]
        assert torch.equal(chosen, ours["scores"])
        torch.testing.assert_close(ours["probabilities"].sum(dim=1), torch.ones(len(chosen)))


def test_none_is_plain_torchvision_loss_for_loss(
    images: list[Tensor], targets: list[dict[str, Tensor]]
) -> None:
    losses = []
    for network in (deepcopy(built("none")), deepcopy(plain())):
        network.train()
        torch.manual_seed(5)
        with torch.no_grad():
            losses.append(network(images, targets))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("attention", ["se", "sk", "ds"])
def test_all_variants_of_a_seed_share_their_base(attention: Attention) -> None:
    base, ours = built("none").state_dict(), built(attention).state_dict()
    added = [name for name in ours if name not in base]
    assert all(torch.equal(base[name], ours[name]) for name in base)
    assert {name.split(".")[2] for name in added} == {"attention_maxpool", "attention_layer4"}


@pytest.mark.parametrize("attention", ["se", "sk", "ds"])
def test_attention_starts_as_the_identity(attention: Attention, images: list[Tensor]) -> None:
    expected = outputs(built("none"), images)
    for ours, theirs in zip(outputs(built(attention), images), expected, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_plain_attention_changes_the_outputs(images: list[Tensor]) -> None:
    config = Detector(proposals=50, attention=AttentionOptions(init="plain"))
    network = build(config, Variant(attention="se"), size_px=SIZE_PX, pixel_mm=PIXEL_MM, seed=SEED)
    found, base = outputs(network, images), outputs(built("none"), images)
    assert not torch.equal(found[0]["scores"], base[0]["scores"])


def test_attention_has_a_stream_of_its_own() -> None:
    name = "backbone.body.attention_layer4.module.squeeze.weight"
    one, other = (built("se", seed).state_dict()[name] for seed in (SEED, SEED + 1))
    assert not torch.equal(one, other)


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    build(Detector(), Variant(attention="se"), size_px=SIZE_PX, pixel_mm=PIXEL_MM)
    assert torch.equal(torch.rand(3), expected)


def test_sites_come_from_the_config() -> None:
    config = Detector(attention=AttentionOptions(sites=("layer2",)))
    network = build(config, Variant(attention="se"), size_px=SIZE_PX, pixel_mm=PIXEL_MM)
    body = network.backbone.body
    names = list(body)
    assert names.index("attention_layer2") == names.index("layer2") + 1
    assert body.return_layers["attention_layer2"] == "1"
    assert "attention_layer4" not in names


def test_an_unknown_site_is_named() -> None:
    config = Detector(attention=AttentionOptions(sites=("layer9",)))
    with pytest.raises(UserError, match=r"maxpool, layer1.*found layer9"):
        build(config, Variant(), size_px=SIZE_PX, pixel_mm=PIXEL_MM)


def test_pretrained_bases_are_frozen_as_in_torchvision() -> None:
    config = Detector(weights="coco")
    network = build(config, Variant(attention="ds"), size_px=SIZE_PX, pixel_mm=PIXEL_MM)
    assert trainable_layers(config, "resnet50") == 3
    assert isinstance(network.backbone.body.bn1, FrozenBatchNorm2d)
    assert network.backbone.body.bn1.eps == 0
    frozen = {n for n, p in network.backbone.body.named_parameters() if not p.requires_grad}
    assert {name.split(".")[0] for name in frozen} == {"conv1", "layer1"}
    attention = network.backbone.body["attention_maxpool"]
    assert isinstance(attention.module.small[1], torch.nn.BatchNorm2d)


def test_norm_and_frozen_stages_can_be_chosen() -> None:
    config = Detector(weights="coco", norm="batch", trainable_layers=5)
    network = build(config, Variant(), size_px=SIZE_PX, pixel_mm=PIXEL_MM)
    assert isinstance(network.backbone.body.bn1, torch.nn.BatchNorm2d)
    assert all(p.requires_grad for p in network.parameters())


def test_anchors_follow_the_size_of_a_pixel() -> None:
    network = build(Detector(), Variant(), size_px=SIZE_PX, pixel_mm=0.5)
    assert network.rpn.anchor_generator.sizes == ((32.0,), (64.0,), (96.0,), (128.0,), (192.0,))


def test_the_registry_holds_what_the_config_allows() -> None:
    assert set(ATTENTION) == set(Attention.__args__)
