"""Whole trainings on small images: deterministic, resumed bit for bit, whole or absent."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import pytest
import torch
from torch import Tensor

from dsnet import contract
from dsnet.config import Attention, Detector, Train, Variant
from dsnet.detect.model import build
from dsnet.detect.part import Example, Part
from dsnet.detect.weights import load_trained
from dsnet.errors import UserError
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


def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run("whole")
    with monkeypatch.context() as patch:
        kill_in(2, patch)
        with pytest.raises(Killed):
            run("killed")
    left = sorted(path.name for path in (tmp_path / "killed").iterdir())
    assert left == ["checkpoints"]
    torch.manual_seed(99)
    resumed = run("killed")
    assert same(weights(whole), weights(resumed))
    told = [pd.read_csv(outputs["history"]).drop(columns="seconds") for outputs in (whole, resumed)]
    pd.testing.assert_frame_equal(*told)
    assert told[0]["epoch"].tolist() == [1, 2, 3]
    assert told[0]["validation_map"].isna().tolist() == [True, False, False]
    again = run("again")
    assert same(weights(whole), weights(again))
    gone = {path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()}
    assert gone <= {"busy"}
