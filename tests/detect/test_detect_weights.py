"""Start weights, from checkpoints made on the spot in the published layout."""

import re
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.detection import (
    FasterRCNN,
    FasterRCNN_ResNet50_FPN_Weights,
    fasterrcnn_mobilenet_v3_large_fpn,
    fasterrcnn_resnet50_fpn,
)

from dsnet.config.detector import Attention, Backbone, Detector, Variant
from dsnet.detect.backbone import BACKBONE
from dsnet.detect.model import build
from dsnet.detect.weights import Start, load_start, load_trained, read_state
from dsnet.errors import UserError
from dsnet.files import sha256

pytestmark = pytest.mark.slow

COCO = FasterRCNN_ResNet50_FPN_Weights.COCO_V1
DETECTORS = {
    "resnet50": fasterrcnn_resnet50_fpn,
    "mobilenet_v3_large": fasterrcnn_mobilenet_v3_large_fpn,
}

Publish = Callable[[Backbone, str], Path]


@cache
def published(backbone: Backbone, name: str) -> dict[str, Tensor]:
    """Return a state dict as torchvision publishes it: of a detector of 91 or classifier of 1,000.

    With the names of those years, and without what batch norms count.
    """
    torch.manual_seed(3)
    if name == "coco":
        network = DETECTORS[backbone](weights=None, weights_backbone=None, num_classes=91)
        state = network.state_dict()
    elif backbone == "vgg16":  # its classifier takes half a gigabyte: stored as one number
        with torch.device("meta"):
            state = models.vgg16().state_dict()
        state = {name: _random(name, tensor.shape) for name, tensor in state.items()}
    else:
        state = getattr(models, backbone)().state_dict()
    older = {
        re.sub(r"(_blocks\.\d+)\.0\.", r"\1.", name.replace("conv.0.0.", "conv.", 1))
        if name.startswith(("rpn.", "backbone.fpn."))
        else name: tensor
        for name, tensor in state.items()
    }
    return {n: t for n, t in older.items() if not n.endswith("num_batches_tracked")}


def _random(name: str, shape: torch.Size) -> Tensor:
    if name.startswith("classifier"):
        return torch.zeros(1).expand(shape)
    return torch.randn(shape) / shape[0] ** 0.5 / 3


def current_name(name: str) -> str:
    """Return the name of a published tensor in a detector built today."""
    name = name.replace("rpn.head.conv.", "rpn.head.conv.0.0.")
    return re.sub(r"(_blocks\.\d+)\.", r"\1.0.", name)


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Return what puts the state dict of that name into torch's cache as torchvision's."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)

    def put(backbone: Backbone, name: str) -> Path:
        path = folder / "new.pth"
        torch.save(published(backbone, name), path)
        path = path.rename(folder / f"{name}-{sha256(path)[:8]}.pth")
        entry = BACKBONE[backbone]
        made = replace(
            entry.published[name],
            weights=SimpleNamespace(url=f"https://download.invalid/{path.name}"),
        )
        changed = replace(entry, published={**entry.published, name: made})
        monkeypatch.setitem(BACKBONE, backbone, changed)
        return path

    return put


@pytest.fixture
def coco(publish: Publish) -> Path:
    return publish("resnet50", "coco")


def start(
    config: Detector, attention: Attention = "none", backbone: Backbone = "resnet50"
) -> tuple[FasterRCNN, Start]:
    variant = Variant(backbone=backbone, attention=attention)
    network = build(config, variant, size_px=64, pixel_mm=2.0)
    return network, load_start(network, config, backbone)


def refused(config: Detector) -> None:
    """Load what will be refused before any network counts."""
    load_start(nn.Linear(1, 1), config, "resnet50")


def total(network: FasterRCNN) -> int:
    return sum(not name.endswith("num_batches_tracked") for name in network.state_dict())


def test_none_loads_nothing() -> None:
    network, report = start(Detector(weights="none"), backbone="mobilenet_v2")
    assert (report.source, report.sha256, report.loaded) == ("none", "", {})
    assert not any(report.skipped.values())
    assert sum(report.new.values()) == total(network)


@pytest.mark.parametrize("attention", ["none", "ds"])
def test_coco_loads_all_but_the_classes(coco: Path, attention: Attention) -> None:
    network, report = start(Detector(weights="paper"), attention)
    ours, theirs = network.state_dict(), published("resnet50", "coco")
    names = [name for name in theirs if "box_predictor" not in name]
    assert all(torch.equal(ours[current_name(name)], theirs[name]) for name in names)
    assert report.source == "coco"
    assert report.sha256 == sha256(coco)
    assert sum(report.loaded.values()) == len(names)
    classes = {"roi_heads.box_predictor": 4}
    assert report.skipped == {"name": {}, "shape": classes, "heads": {}}
    new = {f"backbone.body.attention_{site}" for site in ("maxpool", "layer4")}
    assert report.new.keys() == classes.keys() | (new if attention == "ds" else set())
    assert report.new["roi_heads.box_predictor"] == 4
    assert asdict(report)["skipped"]["shape"] == classes


STARTS: dict[Backbone, list[Attention]] = {
    "resnet50": ["ds"],
    "vgg16": ["ds"],
    "mobilenet_v2": ["se", "sk", "eca", "ds"],
    "mobilenet_v3_large": ["ds"],
}


@pytest.mark.parametrize("backbone", STARTS)
def test_attention_starts_with_the_outputs_of_the_pretrained(
    publish: Publish, backbone: Backbone, images: list[Tensor]
) -> None:
    publish(backbone, BACKBONE[backbone].paper)

    def detections(attention: Attention) -> list[dict[str, Tensor]]:
        network, report = start(Detector(weights="paper", proposals=30), attention, backbone)
        assert report.loaded["backbone.body"] > 20
        with torch.no_grad():
            given: list[dict[str, Tensor]] = network.eval()(images)
        return given

    expected = detections("none")
    assert len(expected[0]["boxes"]) > 0
    for attention in STARTS[backbone]:
        for ours, base in zip(detections(attention), expected, strict=True):
            assert all(torch.equal(ours[name], base[name]) for name in base)


@pytest.mark.parametrize(
    ("backbone", "fpn", "classifier"),
    [
        ("resnet50", True, "name"),
        ("vgg16", False, "heads"),
        ("mobilenet_v2", True, "heads"),
        ("mobilenet_v3_large", False, "heads"),
    ],
)
def test_imagenet_fills_the_backbone_regardless_of_the_maps(
    publish: Publish, backbone: Backbone, fpn: bool, classifier: str
) -> None:
    publish(backbone, "imagenet")
    network, report = start(Detector(weights="imagenet", fpn=fpn), backbone=backbone)
    theirs = published(backbone, "imagenet")
    prefix = "" if backbone == "resnet50" else "features."
    stages = [n for n in theirs if n.startswith(prefix) and not n.startswith("fc.")]
    ours = network.state_dict()
    for name in stages:
        assert torch.equal(ours["backbone.body." + name.removeprefix(prefix)], theirs[name])
    assert report.loaded == {"backbone.body": len(stages)}
    skipped = {why: sum(counts.values()) for why, counts in report.skipped.items()}
    assert skipped == {"name": 0, "shape": 0, "heads": 0, classifier: len(theirs) - len(stages)}
    assert sum(report.new.values()) == total(network) - len(stages)


@pytest.mark.parametrize(("backbone", "fpn"), [("resnet50", False), ("mobilenet_v3_large", True)])
def test_of_a_detector_with_other_maps_only_the_backbone_is_taken(
    publish: Publish, backbone: Backbone, fpn: bool
) -> None:
    publish(backbone, "coco")
    _, report = start(Detector(weights="coco", fpn=fpn), backbone=backbone)
    names = published(backbone, "coco")
    assert report.loaded == {"backbone.body": sum(n.startswith("backbone.body.") for n in names)}
    assert report.skipped["heads"].keys() == {
        "backbone.fpn",
        "rpn.head",
        "roi_heads.box_head",
        "roi_heads.box_predictor",
    }
    assert report.skipped["name"] == report.skipped["shape"] == {}


def test_older_names_of_another_shape_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "v3.pt"
    torch.save(published("mobilenet_v3_large", "coco"), path)
    _, report = start(Detector(weights=str(path), fpn=True), backbone="mobilenet_v3_large")
    assert report.skipped["shape"] == {
        "backbone.fpn": 2,
        "roi_heads.box_predictor": 4,
        "rpn.head": 4,
    }


def test_a_changed_file_in_the_cache_is_detected(coco: Path) -> None:
    with coco.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(UserError, match=r"coco-.*found one of SHA-256"):
        refused(Detector(weights="coco"))


def test_offline_says_which_file_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def unreachable(*_args: object, **_kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(UserError) as caught:
        refused(Detector(weights="coco"))
    message = str(caught.value)
    assert str(tmp_path / "hub" / "checkpoints" / COCO.url.rpartition("/")[2]) in message
    assert COCO.url in message


def test_a_file_is_loaded_and_its_digest_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    network, _ = start(Detector(weights="none"), backbone="mobilenet_v2")
    torch.save(network.state_dict(), path)
    config = Detector(weights=str(path), weights_sha256=sha256(path))
    _, report = start(config, backbone="mobilenet_v2")
    assert report.source == "file"
    assert report.sha256 == sha256(path)
    assert sum(report.loaded.values()) == total(network)
    assert not report.new
    with pytest.raises(UserError, match=r"mine\.pt.*found one of SHA-256"):
        refused(Detector(weights=str(path), weights_sha256="0" * 64))


def test_weights_that_fit_nowhere_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"encoder.weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="1 tensors, none with a name and shape"):
        refused(Detector(weights=str(path)))


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.pt"
    if content is None:
        torch.save({"epoch": 3}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.pt: expected a state dict"):
        read_state(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.pt.*no file"):
        refused(Detector(weights=str(tmp_path / "gone.pt")))


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"weight": Path("x")}, path)
    with pytest.raises(UserError, match=r"evil\.pt"):
        read_state(path)


def test_trained_weights_must_be_of_this_detector(tmp_path: Path) -> None:
    network, _ = start(Detector(weights="none"), "se", "mobilenet_v2")
    path = tmp_path / "weights.pt"
    torch.save(network.state_dict(), path)
    load_trained(network, path)
    other, _ = start(Detector(weights="none"), "sk", "mobilenet_v2")
    with pytest.raises(UserError, match=r"weights\.pt.*another detector"):
        load_trained(other, path)
