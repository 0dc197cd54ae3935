"""The whole detector: against plain torchvision, and alike for every backbone."""

from copy import deepcopy
from functools import cache

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FrozenBatchNorm2d, box_iou

from dsnet.config.detector import Attention, AttentionOptions, Backbone, Detector, Variant
from dsnet.detect.attention import ATTENTION
from dsnet.detect.backbone import BACKBONE
from dsnet.detect.model import (
    build,
    map_stride,
    trainable_layers,
)
from dsnet.detect.regions import Anchors, Float32RPNHead
from dsnet.errors import UserError

pytestmark = pytest.mark.slow

SIZE_PX, PIXEL_MM = 64, 2.0
SEED = 7


def built(attention: Attention, seed: int = SEED, backbone: Backbone = "resnet50") -> FasterRCNN:
    config = Detector(weights="none", loss="ce", proposals=50, roi_samples=32)
    variant = Variant(backbone=backbone, attention=attention)
    return build(config, variant, size_px=SIZE_PX, pixel_mm=PIXEL_MM, seed=seed)


@cache
def base(backbone: Backbone = "resnet50") -> FasterRCNN:
    return built("none", backbone=backbone)


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
        detections: list[dict[str, Tensor]] = network(images)
    return detections


def test_none_is_plain_torchvision_weight_for_weight() -> None:
    ours, theirs = base().state_dict(), plain().state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_none_is_plain_torchvision_output_for_output(images: list[Tensor]) -> None:
    detections, expected = outputs(base(), images), outputs(plain(), images)
    assert all(len(one["boxes"]) > 5 for one in expected)
    for ours, theirs in zip(detections, expected, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        chosen = ours["probabilities"].gather(1, ours["labels"][:, None])[:, 0]
        assert torch.equal(chosen, ours["scores"])
        torch.testing.assert_close(ours["probabilities"].sum(dim=1), torch.ones(len(chosen)))


def test_none_is_plain_torchvision_loss_for_loss(
    images: list[Tensor], targets: list[dict[str, Tensor]]
) -> None:
    losses = []
    for network in (deepcopy(base()), deepcopy(plain())):
        for stage in (network.rpn, network.roi_heads):
            stage.fg_bg_sampler.batch_size_per_image = 10_000  # so that chance decides nothing
        with torch.no_grad():
            losses.append(network.train()(images, targets))
    assert list(losses[0]) == list(losses[1])
    for name, loss in losses[0].items():
        torch.testing.assert_close(loss, losses[1][name])


VARIANTS: list[tuple[Backbone, Attention, set[str]]] = [
    ("resnet50", "ds", {"attention_maxpool", "attention_layer4"}),
    ("vgg16", "ds", {"attention_4", "attention_30"}),
    ("mobilenet_v2", "se", {"attention_1", "attention_18"}),
    ("mobilenet_v2", "sk", {"attention_1", "attention_18"}),
    ("mobilenet_v2", "eca", {"attention_1", "attention_18"}),
    ("mobilenet_v2", "ds", {"attention_1", "attention_18"}),
    ("mobilenet_v3_large", "ds", {"attention_1", "attention_16"}),
]


@pytest.mark.parametrize(("backbone", "attention", "added"), VARIANTS)
def test_attention_starts_as_the_identity_on_the_same_base(
    backbone: Backbone, attention: Attention, added: set[str], images: list[Tensor]
) -> None:
    plain, ours = base(backbone), built(attention, backbone=backbone)
    weights, state = plain.state_dict(), ours.state_dict()
    assert all(torch.equal(weights[name], state[name]) for name in weights)
    assert {name.split(".")[2] for name in state if name not in weights} == added
    expected = outputs(plain, images)
    assert len(expected[0]["boxes"]) > 0
    for one, other in zip(outputs(ours, images), expected, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)


def test_plain_attention_changes_the_outputs(images: list[Tensor]) -> None:
    config = Detector(weights="none", proposals=50, attention=AttentionOptions(init="plain"))
    network = build(config, Variant(attention="se"), size_px=SIZE_PX, pixel_mm=PIXEL_MM, seed=SEED)
    ours, expected = outputs(network, images), outputs(base(), images)
    assert not torch.equal(ours[0]["scores"], expected[0]["scores"])


def test_attention_has_a_stream_of_its_own() -> None:
    name = "backbone.body.attention_layer4.module.squeeze.weight"
    one, other = (built("se", seed).state_dict()[name] for seed in (SEED, SEED + 1))
    assert not torch.equal(one, other)


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    build(Detector(weights="none"), Variant(attention="se"), size_px=SIZE_PX, pixel_mm=PIXEL_MM)
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


def test_norms_keep_what_their_checkpoint_added_to_the_variance() -> None:
    settings = [
        ("mobilenet_v3_large", Detector(weights="paper"), 1e-3),
        ("mobilenet_v3_large", Detector(weights="coco"), 1e-5),
        ("mobilenet_v2", Detector(weights="imagenet"), 1e-5),
        ("mobilenet_v2", Detector(weights="none", norm="frozen"), 1e-5),
    ]
    for backbone, config, eps in settings:
        network = build(config, Variant(backbone=backbone), size_px=SIZE_PX, pixel_mm=PIXEL_MM)
        norm = network.backbone.body["0"][1]
        assert isinstance(norm, FrozenBatchNorm2d)
        assert norm.eps == eps


@pytest.mark.parametrize(
    ("weights", "norm", "norms"),
    [
        ("none", "auto", 13),
        ("none", "batch", 13),
        ("none", "frozen", 0),
        ("paper", "auto", 0),
        ("imagenet", "batch", 0),
        ("mine.pt", "auto", 0),
        ("mine.pt", "batch", 13),
    ],
)
def test_vgg16_has_norms_where_it_has_none_to_load(weights: str, norm: str, norms: int) -> None:
    config = Detector(weights=weights, norm=norm)
    network = build(config, Variant(backbone="vgg16"), size_px=SIZE_PX, pixel_mm=PIXEL_MM)
    kinds = [type(module) for module in network.backbone.modules()]
    assert kinds.count(torch.nn.BatchNorm2d) == norms
    assert FrozenBatchNorm2d not in kinds


def test_more_groups_of_stages_than_there_are_cannot_train() -> None:
    assert trainable_layers(Detector(weights="none", trainable_layers=6), "mobilenet_v2") == 6
    with pytest.raises(UserError, match="at most 5, which is all of resnet50, but found 6"):
        trainable_layers(Detector(weights="none", trainable_layers=6), "resnet50")


def test_norm_and_frozen_stages_can_be_chosen() -> None:
    config = Detector(weights="coco", norm="batch", trainable_layers=5)
    network = build(config, Variant(), size_px=SIZE_PX, pixel_mm=PIXEL_MM)
    assert isinstance(network.backbone.body.bn1, torch.nn.BatchNorm2d)
    assert all(p.requires_grad for p in network.parameters())


def test_anchors_follow_the_size_of_a_pixel() -> None:
    network = build(Detector(weights="none"), Variant(), size_px=SIZE_PX, pixel_mm=0.5)
    assert network.rpn.anchor_generator.sizes == ((32.0,), (64.0,), (96.0,), (128.0,), (192.0,))


def test_one_map_has_anchors_and_proposals_of_all_sizes() -> None:
    config = Detector(weights="none", fpn=False, proposals=40)
    network = build(config, Variant(), size_px=SIZE_PX, pixel_mm=2.0)
    assert network.rpn.anchor_generator.sizes == ((8.0, 16.0, 24.0, 32.0, 48.0),)
    assert network.rpn.anchor_generator.num_anchors_per_location() == [15]
    assert network.rpn.head.cls_logits.out_channels == 15
    assert (network.rpn.pre_nms_top_n(), network.rpn.post_nms_top_n()) == (200, 40)


@pytest.mark.parametrize("fpn", [True, False])
@pytest.mark.parametrize(("size_px", "pixel_mm", "stride"), [(96, 1.5, 8), (512, 0.6, 16)])
def test_a_vertebra_anywhere_has_an_anchor(
    fpn: bool, size_px: int, pixel_mm: float, stride: int
) -> None:
    config = Detector(weights="none", fpn=fpn)
    assert map_stride(config, pixel_mm) == stride
    variant = Variant(backbone="mobilenet_v2")
    network = build(config, variant, size_px=size_px, pixel_mm=pixel_mm)
    strides = [4, 8, 16, 32, 64] if fpn else [stride]
    maps = [torch.zeros(1, 1, size_px // one, size_px // one) for one in strides]
    images = ImageList(torch.zeros(1, 3, size_px, size_px), [(size_px, size_px)])
    (anchors,) = network.rpn.anchor_generator(images, maps)
    half = torch.tensor([45.0, 33.0]) / 2 / pixel_mm
    steps = size_px / 2 + torch.arange(0, 16, 2.0)
    centres = torch.cartesian_prod(steps, steps)
    best = box_iou(torch.cat([centres - half, centres + half], dim=1), anchors).amax(dim=1)
    assert best.min() > 0.5


@pytest.mark.parametrize(("pixel_mm", "stride"), [(3.0, 8), (1.0, 16), (0.5, 32)])
def test_the_one_map_is_as_coarse_as_the_smallest_anchor_allows(
    pixel_mm: float, stride: int
) -> None:
    assert map_stride(Detector(), pixel_mm) == stride


@pytest.mark.parametrize(
    ("backbone", "fpn"), [("resnet50", False), ("vgg16", False), ("mobilenet_v2", True)]
)
def test_every_map_trains_in_bf16_with_boxes_in_float32(
    backbone: Backbone, fpn: bool, images: list[Tensor], targets: list[dict[str, Tensor]]
) -> None:
    config = Detector(weights="none", fpn=fpn, proposals=50, loss="ce")
    network = build(
        config,
        Variant(backbone=backbone, attention="ds"),
        size_px=SIZE_PX,
        pixel_mm=PIXEL_MM,
        seed=SEED,
    )
    seen: list[Tensor] = []
    network.rpn.register_forward_hook(lambda _module, _inputs, given: seen.extend(given[0]))
    network.rpn.anchor_generator.register_forward_hook(
        lambda _module, _inputs, given: seen.extend(given)
    )
    network.roi_heads.box_roi_pool.register_forward_pre_hook(
        lambda _module, inputs: seen.extend(inputs[1])
    )
    with torch.autocast("cpu", torch.bfloat16):
        losses = network.train()(images, targets)
    assert len(seen) == 3 * len(images)
    assert all(one.dtype == torch.float32 for one in (*seen, *losses.values()))
    torch.stack(list(losses.values())).sum().backward()
    gammas = [weight for name, weight in network.named_parameters() if name.endswith("gamma")]
    assert all(gamma.grad is not None and gamma.grad != 0 for gamma in gammas)
    assert len(gammas) == 2


def test_the_registries_hold_what_the_config_allows() -> None:
    assert set(ATTENTION) == set(Attention.__args__)
    assert set(BACKBONE) == set(Backbone.__args__)


LARGE_PX = 512
SIZES, RATIOS = ((32.0,),), ((0.5, 1.0, 2.0),)


def decoded(anchors: type[AnchorGenerator], head: type[RPNHead], *, bf16: bool) -> torch.Tensor:
    torch.manual_seed(0)
    generator, outputs = anchors(SIZES, RATIOS), head(8, 3)
    features = torch.rand(1, 8, LARGE_PX // 16, LARGE_PX // 16)
    images = ImageList(torch.zeros(1, 3, LARGE_PX, LARGE_PX), [(LARGE_PX, LARGE_PX)])
    coder = RegionProposalNetwork(
        generator, outputs, 0.7, 0.3, 256, 0.5, {}, {}, nms_thresh=0.7
    ).box_coder
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        maps = [features.bfloat16() if bf16 else features]
        _, offsets = outputs(maps)
        flat = offsets[0].permute(0, 2, 3, 1).reshape(-1, 4)
        return coder.decode(flat, generator(images, maps))


@pytest.mark.parametrize("ours", [False, True])
def test_boxes_in_bf16_err_by_a_pixel_and_ours_do_not(ours: bool) -> None:
    kinds = (Anchors, Float32RPNHead) if ours else (AnchorGenerator, RPNHead)
    exact = decoded(AnchorGenerator, RPNHead, bf16=False)
    mixed = decoded(*kinds, bf16=True)
    error_px = (mixed.double() - exact.double()).abs().max()
    if ours:
        assert mixed.dtype == torch.float32
        assert error_px < 0.1
    else:
        assert mixed.dtype == torch.bfloat16
        assert error_px >= 1
