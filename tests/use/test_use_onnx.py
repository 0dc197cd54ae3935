"""Detectors as ONNX detect what they detect in torch."""

from itertools import cycle
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from support.made_study import model

import dsnet
from dsnet.config.detector import Attention, Backbone, Detector, Variant
from dsnet.detect.attention import residuals
from dsnet.detect.export import TorchDetector
from dsnet.detect.model import build
from dsnet.errors import UserError
from dsnet.evaluate.scene import iou
from dsnet.use.trained import OnnxDetector, read_onnx

pytestmark = pytest.mark.slow

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

DETECTOR = Detector(weights="none", proposals=60)
SIZE_PX, PIXEL_MM = 96, 2.25
PAIRS = list(zip(get_args(Attention), cycle(get_args(Backbone)), strict=False))
"""One of each backbone and of each attention."""


def network(backbone: str, attention: str) -> Any:
    """Return a detector whose outputs vary: untrained ones give all regions one score."""
    variant = Variant.model_validate(f"{backbone}/{attention}")
    made = build(DETECTOR, variant, size_px=SIZE_PX, pixel_mm=PIXEL_MM, seed=1)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for module in residuals(made).values():
            module.gamma.fill_(0.1)
        for layer in made.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None  # the statistics of what it sees
        made.backbone.train()
        made.backbone(torch.randn(4, 3, SIZE_PX, SIZE_PX, generator=generator))
        made.eval()
        # Offsets as small as those of a trained detector: rounding grows with them.
        made.rpn.head.bbox_pred.weight.mul_(0.2)
        made.roi_heads.box_predictor.bbox_pred.weight.mul_(0.2)
        made.rpn.head.cls_logits.weight.mul_(8)
        made.roi_heads.box_predictor.cls_score.weight.mul_(4)
    return made


@pytest.mark.parametrize(("attention", "backbone"), PAIRS)
def test_boxes_and_probabilities_equal_those_of_torch(
    attention: str, backbone: str, tmp_path: Path
) -> None:
    from dsnet.detect.export import export_onnx  # noqa: PLC0415 - after the skip

    path = tmp_path / "model.onnx"
    export_onnx(path, {}, network(backbone, attention), DETECTOR.windows)
    hu = np.random.default_rng(2).normal(100, 400, (3, SIZE_PX, SIZE_PX)).astype(np.int16)
    of_torch = TorchDetector(network(backbone, attention), DETECTOR.windows)(hu)
    of_onnx = OnnxDetector(path)(hu)
    for one, other in zip(of_torch, of_onnx, strict=True):
        assert len(one["scores"]) == len(other["scores"]) > 0
        # By place and class, since equal scores may stand in another order.
        same = one["labels"][:, None] == other["labels"][None]
        overlap = iou(one["boxes"][:, None].astype(float), other["boxes"][None].astype(float))
        nearest = np.where(same, overlap, -1).argmax(axis=1)
        assert np.abs(one["boxes"] - other["boxes"][nearest]).max() < 1e-3
        assert np.abs(one["probabilities"] - other["probabilities"][nearest]).max() < 1e-4


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from dsnet.detect.export import export_onnx  # noqa: PLC0415 - after the skip

    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    facts = model(size_px=SIZE_PX, pixel_mm=PIXEL_MM).facts.model_dump(mode="json")
    made = network("mobilenet_v2", "none")
    made.roi_heads.score_thresh = 0.3  # of which images have different numbers of boxes
    export_onnx(path, facts, made, DETECTOR.windows)
    return path


def test_the_facts_stand_in_the_file(exported: Path) -> None:
    loaded = dsnet.load_model(exported)
    assert loaded.facts.cohort == "made"
    assert loaded.facts.size_px == SIZE_PX
    assert loaded.sha256 == read_onnx(exported)[1]
    (found,) = loaded.detect(np.zeros((1, SIZE_PX, SIZE_PX), dtype=np.int16))
    assert set(found) == {"boxes", "labels", "scores", "probabilities"}


def test_any_number_of_images_goes_through_at_once(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["images", SIZE_PX, SIZE_PX]
    assert all(output.shape[0] == "images" for output in session.get_outputs())
    names = [output.name for output in session.get_outputs()]
    hu = np.random.default_rng(3).normal(100, 400, (4, SIZE_PX, SIZE_PX)).astype(np.float32)
    hu[1] = -1000
    together = dict(zip(names, session.run(None, {"hu": hu}), strict=True))
    assert len(set(together["counts"].tolist())) > 1
    for image, count in enumerate(together["counts"]):
        alone = dict(zip(names, session.run(None, {"hu": hu[image : image + 1]}), strict=True))
        assert all(np.array_equal(together[name][image], alone[name][0]) for name in names)
        assert (together["labels"][image] > 0).sum() == count  # and zeros after them
    assert [len(values) for values in session.run(None, {"hu": hu[:0]})] == [0] * len(names)


def test_files_that_are_not_whole_are_refused(exported: Path, tmp_path: Path) -> None:
    changed = onnx.load(exported)
    (body,) = [attribute.g for attribute in changed.graph.node[-1].attribute]
    body.initializer[0].raw_data = bytes(len(body.initializer[0].raw_data))
    onnx.save(changed, tmp_path / "changed.onnx")
    onnx.save(onnx.helper.make_model(changed.graph), tmp_path / "foreign.onnx")
    older = onnx.load(exported)
    next(one for one in older.metadata_props if one.key == "version").value = "1"
    onnx.save(older, tmp_path / "older.onnx")
    (tmp_path / "text.onnx").write_text("x")
    for name, came in {
        "changed.onnx": "does not fit its SHA-256",
        "foreign.onnx": "another ONNX file",
        "older.onnx": "format version 1",
        "text.onnx": "something else",
        "missing.onnx": "no file",
    }.items():
        with pytest.raises(UserError, match=came):
            dsnet.load_model(tmp_path / name)
