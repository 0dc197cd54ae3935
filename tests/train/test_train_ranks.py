"""One training on several processes: what they need, and two of them at work."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import small_training

from dsnet import schemas
from dsnet.config.detector import Detector, Train, Variant
from dsnet.detect.device import Machine
from dsnet.detect.model import build
from dsnet.errors import UserError
from dsnet.train.ranks import Ranks, ranks
from dsnet.train.step import train

CPU = Machine(torch.device("cpu"), "", 1, "32-true")
GPU = Machine(torch.device("cuda"), "", 1, "32-true")


def test_auto_is_every_gpu_and_one_process_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert ranks(Train(devices="auto"), CPU, 100) == Ranks(1, 1)
    assert ranks(Train(devices="auto"), GPU, 100) == Ranks(4, 1)
    assert ranks(Train(devices=2, nodes=2), GPU, 100).world == 4
    assert ranks(Train(), GPU, 100).facts() == {"devices": 1, "nodes": 1}


def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"at most the 1 GPUs .* found 2; set it to auto"):
        ranks(Train(devices=2), GPU, 100)


@pytest.mark.parametrize(("batch_size", "images"), [(7, 100), (8, 7)])
def test_each_device_needs_two_images_of_a_batch(batch_size: int, images: int) -> None:
    assert ranks(Train(devices=2, nodes=2, batch_size=8), CPU, 8).world == 4
    with pytest.raises(UserError, match="training on 4 devices: expected batches of at least 2"):
        ranks(Train(devices=2, nodes=2, batch_size=batch_size), CPU, images)


# Frozen norms and cross-entropy, so that two shares of a batch give the gradient of the whole, but
# for the proposals drawn.
DETECTOR = Detector(proposals=40, loss="ce", norm="frozen")
PARAMS = Train(epochs=1, batch_size=9, warmup_steps=0, gradient_clip=1.0, precision="32")


def files(folder: Path) -> dict[str, Path]:
    outputs = {"weights": "w.pt", "history": "h.csv", "manifest": "m.json", "checkpoints": "c"}
    return {name: folder / path for name, path in outputs.items()}


def second_process(paths: dict[str, Path], params: Train) -> subprocess.Popen[str]:
    values = {
        "detector": DETECTOR.model_dump_json(),
        "params": params.model_dump_json(),
        "variant": Variant().model_dump_json(),
        "seed": 3,
        **paths,
    }
    flags = [f"--{name}={value}" for name, value in values.items()]
    return subprocess.Popen(
        [sys.executable, small_training.__file__, *flags],
        env={**os.environ, "LOCAL_RANK": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.usefixtures("small_backbone")
@pytest.mark.skipif(sys.platform == "win32", reason="gloo needs another rendezvous there")
def test_two_processes_train_as_one_does(
    ellipses: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"detector": DETECTOR, "variant": Variant(), "seed": 3, **ellipses.paths()}
    alone, together = files(tmp_path / "alone"), files(tmp_path / "together")
    train(params=PARAMS, **settings, **alone)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 2, "LOCAL_RANK": 0}
    for name, value in place.items():
        monkeypatch.setenv(name, str(value))
    params = PARAMS.model_copy(update={"devices": 2})
    with second_process({**ellipses.paths(), **together}, params) as other:
        try:
            train(params=params, **settings, **together)
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
        assert other.communicate(timeout=60)[1] == ""
        assert other.returncode == 0

    one, two = (schemas.read(schemas.HISTORY, paths["history"]) for paths in (alone, together))
    assert two["loss"].tolist() == pytest.approx(one["loss"].tolist(), rel=0.01)
    first = build(DETECTOR, Variant(), size_px=64, pixel_mm=2.0, seed=3).state_dict()
    states = [torch.load(paths["weights"], weights_only=True) for paths in (alone, together)]
    name = "roi_heads.box_predictor.cls_score.weight"
    steps = [(state[name] - first[name]).flatten() for state in states]
    assert torch.cosine_similarity(*steps, dim=0) > 0.95
    assert steps[1].norm().item() == pytest.approx(steps[0].norm().item(), rel=0.1)
    assert not (together["checkpoints"] / "last.ckpt").exists()
