"""Whole trainings on small images: deterministic, resumed bit for bit, whole or absent."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from dsnet import schemas
from dsnet.config.detector import Attention, Detector, Train, Variant
from dsnet.detect.dataset import Example
from dsnet.detect.model import build
from dsnet.detect.weights import load_trained
from dsnet.files import sha256
from dsnet.train.step import train
from dsnet.train.trainee import Trainee

DETECTOR = Detector(proposals=40, roi_samples=16, loss="dice_ce")
PARAMS = Train(
    epochs=3,
    batch_size=4,
    learning_rate=0.01,
    warmup_steps=2,
    schedule="cosine",
    gradient_clip=5.0,
    precision="32",
    keep="last",
    validate_every=2,
)

Run = Callable[..., dict[str, Path]]


@pytest.fixture
def run(ellipses: Any, tmp_path: Path) -> Run:
    """Return what trains into a folder of `tmp_path`, and gives back the paths of its outputs."""

    def training(
        name: str, *, attention: Attention = "ds", detector: Detector = DETECTOR, **changes: Any
    ) -> dict[str, Path]:
        outputs = {
            "weights": tmp_path / name / "weights.pt",
            "history": tmp_path / name / "history.csv",
            "manifest": tmp_path / name / "manifest.json",
        }
        train(
            detector=detector,
            params=PARAMS.model_copy(update=changes),
            variant=Variant(attention=attention),
            seed=3,
            checkpoints=tmp_path / name / "checkpoints",
            **ellipses.paths(),
            **outputs,
        )
        return outputs

    return training


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def kill_in(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the second batch of `epoch` (from 0) kill the training."""
    step = Trainee.training_step

    def dying(self: Trainee, batch: list[Example], batch_idx: int) -> Tensor:
        if self.current_epoch == epoch and batch_idx == 1:
            raise Killed
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Trainee, "training_step", dying)


def weights(outputs: dict[str, Path]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(outputs["weights"], weights_only=True)
    return state


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("small_backbone")
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run("whole")
    with monkeypatch.context() as patch:
        kill_in(2, patch)
        with pytest.raises(Killed):
            run("killed")
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["checkpoints"]
    torch.manual_seed(99)  # the global generator's state must not matter
    resumed = run("killed")
    assert same(weights(whole), weights(resumed))
    told = [
        schemas.read(schemas.HISTORY, outputs["history"]).drop(columns="seconds")
        for outputs in (whole, resumed)
    ]
    pd.testing.assert_frame_equal(*told)
    assert told[0]["epoch"].tolist() == [1, 2, 3]
    assert told[0]["validation_map"].isna().tolist() == [True, False, False]
    assert {path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()} <= {"busy"}


@pytest.mark.usefixtures("small_backbone")
def test_a_resumed_training_with_everything_on_equals_an_uninterrupted_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = {
        "precision": "bf16",
        "balance": "weighted",
        "rotation_deg": 10.0,
        "scale_fraction": 0.1,
        "noise_hu": 20.0,
        "shift_hu": 10.0,
        "epochs": 2,
    }
    whole = run("whole", **everything)
    with monkeypatch.context() as patch:
        kill_in(1, patch)
        with pytest.raises(Killed):
            run("killed", **everything)
    resumed = run("killed", **everything)
    assert same(weights(whole), weights(resumed))
    told = json.loads(resumed["manifest"].read_text())
    assert told["machine"]["precision"] == "bf16-mixed"
    assert told["result"]["class_weights"] == dict.fromkeys(schemas.CLASSES, 1.0)


@pytest.mark.usefixtures("small_backbone")
def test_a_resumed_training_ends_as_early_as_an_uninterrupted_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = iter([0.2, 0.2, 0.2, 0.2])
    monkeypatch.setattr(
        "dsnet.train.keeper.judge",
        lambda *_args: {"validation_map": next(maps), "validation_box_ap50": 1.0},
    )
    setting = {"attention": "none", "validate_every": 1, "patience_epochs": 1, "keep": "best"}
    whole = run("whole", **setting)
    with monkeypatch.context() as patch:
        kill_in(1, patch)
        with pytest.raises(Killed):
            run("killed", **setting)
    resumed = run("killed", **setting)
    assert same(weights(whole), weights(resumed))
    for outputs in (whole, resumed):
        result = json.loads(outputs["manifest"].read_text())["result"]
        assert (result["epoch"], result["epochs"], result["stopped_early"]) == (2, 2, True)
        assert schemas.read(schemas.HISTORY, outputs["history"])["epoch"].tolist() == [1, 2]


@pytest.mark.usefixtures("small_backbone")
def test_the_best_epoch_is_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = iter([0.2, 0.9, 0.3])
    setting = {"schedule": "constant", "validate_every": 1}
    with monkeypatch.context() as patch:
        patch.setattr(
            "dsnet.train.keeper.judge",
            lambda *_args: {"validation_map": next(maps), "validation_box_ap50": 1.0},
        )
        best = run("best", **setting, keep="best")
    until = run("until", **setting, keep="last", epochs=2)
    assert json.loads(best["manifest"].read_text())["result"]["epoch"] == 2
    assert len(schemas.read(schemas.HISTORY, best["history"])) == 3
    assert same(weights(best), weights(until))


@pytest.mark.usefixtures("small_backbone")
def test_what_a_training_leaves(run: Run, ellipses: Any, capfd: pytest.CaptureFixture[str]) -> None:
    outputs = run("one", epochs=1, precision="bf16", gradient_clip=0.0)
    assert capfd.readouterr() == ("", "")
    network = build(DETECTOR, Variant(attention="ds"), size_px=64, pixel_mm=2.0)
    load_trained(network, outputs["weights"])

    told = json.loads(outputs["manifest"].read_text())
    assert told["settings"]["variant"] == {"backbone": "resnet50", "attention": "ds"}
    assert told["settings"]["seed"] == 3
    assert "seeds" not in told["settings"]["train"]
    assert Detector.model_validate(told["settings"]["detector"]) == DETECTOR
    assert told["data"]["digest_sha256"] == sha256(ellipses.digest)
    assert told["data"]["synthetic"] is True
    assert told["machine"]["precision"] == "bf16-mixed"
    result = told["result"]
    weights_of = dict(network.named_parameters())
    assert result["parameters"] == sum(weight.numel() for weight in weights_of.values())
    assert result["parameters_attention"] == sum(
        weight.numel() for name, weight in weights_of.items() if "attention_" in name
    )
    name = "backbone.body.attention_layer4"
    assert result["gamma"][name] == weights_of[f"{name}.gamma"].item() != 0

    (row,) = schemas.read(schemas.HISTORY, outputs["history"]).to_dict("records")
    parts = ("loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg")
    assert row["loss"] == pytest.approx(sum(row[part] for part in parts))
    assert row["learning_rate"] > 0
    assert 0 <= row["validation_map"] <= 1


@pytest.mark.usefixtures("small_backbone")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process outright")
def test_a_training_told_to_end_ends_with_a_status(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainee.training_step

    def told_to_end(self: Trainee, batch: list[Example], batch_idx: int) -> Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Trainee, "training_step", told_to_end)
    with pytest.raises(SystemExit) as ended:
        run("ended")
    assert ended.value.code == 143
    assert [path.name for path in (tmp_path / "ended").iterdir()] == ["checkpoints"]
