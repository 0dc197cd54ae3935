"""Start weights, from checkpoints made on the spot in the published layout."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torchvision.models import ResNet50_Weights
from torchvision.models.detection import (
    FasterRCNN,
    FasterRCNN_ResNet50_FPN_Weights,
    fasterrcnn_resnet50_fpn,
)

from dsnet.config import Attention, Detector, Variant
from dsnet.detect.backbone import BACKBONE
from dsnet.detect.model import build
from dsnet.detect.weights import Start, load_start, load_trained, read_state
from dsnet.errors import UserError
from dsnet.files import sha256

COCO = FasterRCNN_ResNet50_FPN_Weights.COCO_V1
PREDICTOR = {"roi_heads.box_predictor.bbox_pred", "roi_heads.box_predictor.cls_score"}

Publish = Callable[[str, dict[str, Tensor]], Path]


@cache
def published() -> dict[str, Tensor]:
    """Return a state dict as torchvision publishes it: 91 classes, older names in the RPN head."""
    torch.manual_seed(3)
    network = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    state = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    for end in ("weight", "bias"):
        state[f"rpn.head.conv.{end}"] = state.pop(f"rpn.head.conv.0.0.{end}")
    return state


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Return what puts a state dict into torch's cache as the checkpoint of that name."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)

    def put(name: str, state: dict[str, Tensor]) -> Path:
        path = folder / "new.pth"
        torch.save(state, path)
        path = path.rename(folder / f"{name}-{sha256(path)[:8]}.pth")
        made = SimpleNamespace(url=f"https://download.invalid/{path.name}")
        entry = replace(BACKBONE["resnet50"], published={name: made})
        monkeypatch.setitem(BACKBONE, "resnet50", entry)
        return path

    return put


@pytest.fixture
def coco(publish: Publish) -> Path:
    return publish("coco", published())


def start(config: Detector, attention: Attention = "none") -> tuple[FasterRCNN, Start]:
    variant = Variant(attention=attention)
    network = build(config, variant, size_px=64, pixel_mm=2.0)
    return network, load_start(network, config, "resnet50")


def test_none_loads_nothing() -> None:
    _, told = start(Detector())
    assert (told.source, told.sha256, told.loaded, told.skipped) == ("none", "", 0, ())
    assert set(told.new) > PREDICTOR


@pytest.mark.parametrize("attention", ["none", "ds"])
def test_coco_loads_all_but_the_classes(coco: Path, attention: Attention) -> None:
    network, told = start(Detector(weights="coco"), attention)
    new = {"backbone.body.attention_maxpool", "backbone.body.attention_layer4"}
    assert set(told.new) == PREDICTOR | (new if attention == "ds" else set())
    assert set(told.skipped) == PREDICTOR
    assert told.source == "coco"
    assert told.sha256 == sha256(coco)
    ours = network.state_dict()
    names = [name for name in published() if "box_predictor" not in name]
    assert told.loaded == len(names)
    for name in names:
        today = name.replace("rpn.head.conv.", "rpn.head.conv.0.0.")
        assert torch.equal(ours[today], published()[name])


@pytest.mark.usefixtures("coco")
@pytest.mark.parametrize("attention", ["se", "sk", "ds"])
def test_attention_starts_with_the_outputs_of_the_pretrained(
    attention: Attention, images: list[Tensor]
) -> None:
    found = []
    for name in ("none", attention):
        network, _ = start(Detector(weights="coco", proposals=30), name)
        with torch.no_grad():
            found.append(network.eval()(images))
    assert len(found[0][0]["boxes"]) > 0
    for base, ours in zip(*found, strict=True):
        assert all(torch.equal(base[name], ours[name]) for name in base)


def test_imagenet_fills_the_backbone(publish: Publish) -> None:
    body = "backbone.body."
    state = {n.removeprefix(body): t for n, t in published().items() if n.startswith(body)}
    publish("imagenet", {**state, "fc.weight": torch.zeros(2, 2)})
    network, told = start(Detector(weights="imagenet"))
    assert told.loaded == len(state)
    assert told.skipped == ("backbone.body.fc",)
    assert torch.equal(network.backbone.body.conv1.weight, state["conv1.weight"])


def test_a_changed_file_in_the_cache_is_found_out(coco: Path) -> None:
    with coco.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(UserError, match=r"coco-.*found one of SHA-256"):
        start(Detector(weights="coco"))


def test_offline_says_which_file_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def unreachable(*_args: object, **_kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(UserError) as caught:
        start(Detector(weights="coco"))
    message = str(caught.value)
    assert str(tmp_path / "hub" / "checkpoints" / COCO.url.rpartition("/")[2]) in message
    assert COCO.url in message


def test_a_file_is_loaded_and_its_digest_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    torch.save(published(), path)
    _, told = start(Detector(weights=str(path), weights_sha256=sha256(path)))
    assert told.source == "file"
    assert told.sha256 == sha256(path)
    with pytest.raises(UserError, match=r"mine\.pt.*found one of SHA-256"):
        start(Detector(weights=str(path), weights_sha256="0" * 64))


def test_weights_that_fit_nowhere_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"encoder.weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="1 tensors, none with a name and shape"):
        start(Detector(weights=str(path)))


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
        start(Detector(weights=str(tmp_path / "gone.pt")))


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"weight": Path("x")}, path)
    with pytest.raises(UserError, match=r"evil\.pt"):
        read_state(path)


def test_trained_weights_must_be_of_this_detector(tmp_path: Path) -> None:
    network = build(Detector(), Variant(attention="se"), size_px=64, pixel_mm=2.0)
    path = tmp_path / "weights.pt"
    torch.save(network.state_dict(), path)
    load_trained(network, path)
    other = build(Detector(), Variant(attention="sk"), size_px=64, pixel_mm=2.0)
    with pytest.raises(UserError, match=r"weights\.pt.*another detector"):
        load_trained(other, path)


def test_the_registry_names_torchvision_checkpoints() -> None:
    assert BACKBONE["resnet50"].published == {
        "coco": COCO,
        "imagenet": ResNet50_Weights.IMAGENET1K_V1,
    }
