"""Whole trainings on small images: deterministic, resumed bit for bit, whole or absent."""

import json
import math
import os
import signal
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dsnet import schemas
from dsnet.config.detector import Attention, Detector, Train, Variant
from dsnet.detect.attention import Residual
from dsnet.detect.dataset import SliceDataset
from dsnet.detect.device import Machine
from dsnet.detect.model import build
from dsnet.detect.weights import load_trained
from dsnet.errors import UserError
from dsnet.files import sha256
from dsnet.train import step as module
from dsnet.train.launch import open_fabric
from dsnet.train.step import (
    Row,
    best_epoch,
    learning_rate,
    sgd,
    stalled,
    train,
    train_one_epoch,
    validate,
)
from dsnet.use.runs import history_so_far

DETECTOR = Detector(weights="none", proposals=40, roi_samples=16, loss="dice_ce")
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


def at_batch(step: int, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let `act` happen at the start of a batch, counted from 0 over all epochs."""

    def acting(number: int, steps: int, config: Train) -> float:
        if number == step:
            act()
        return learning_rate(number, steps, config)

    monkeypatch.setattr(module, "learning_rate", acting)


def kill_in(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the second of the two batches of `epoch` (from 0) kill the training."""

    def die() -> None:
        raise Killed

    at_batch(2 * epoch + 1, monkeypatch, die)


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
    so_far = history_so_far(tmp_path / "killed" / "checkpoints" / "last.ckpt")
    torch.manual_seed(99)  # the global generator's state must not matter
    resumed = run("killed")
    assert same(weights(whole), weights(resumed))
    histories = [
        schemas.read(schemas.HISTORY, outputs["history"]).drop(columns="seconds")
        for outputs in (whole, resumed)
    ]
    pd.testing.assert_frame_equal(*histories)
    assert histories[0]["epoch"].tolist() == [1, 2, 3]
    assert so_far["loss"].tolist() == histories[0]["loss"].tolist()[:2]
    assert histories[0]["validation_map"].isna().tolist() == [True, False, False]
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
    manifest = json.loads(resumed["manifest"].read_text())
    assert manifest["machine"]["precision"] == "bf16-mixed"
    assert manifest["result"]["class_weights"] == dict.fromkeys(schemas.CLASSES, 1.0)


@pytest.mark.usefixtures("small_backbone")
def test_a_resumed_training_ends_as_early_as_an_uninterrupted_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = iter([0.2, 0.2, 0.2, 0.2])
    monkeypatch.setattr(
        "dsnet.train.step.validate",
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
            "dsnet.train.step.validate",
            lambda *_args: {"validation_map": next(maps), "validation_box_ap50": 1.0},
        )
        best = run("best", **setting, keep="best")
    until = run("until", **setting, keep="last", epochs=2)
    assert json.loads(best["manifest"].read_text())["result"]["epoch"] == 2
    assert len(schemas.read(schemas.HISTORY, best["history"])) == 3
    assert same(weights(best), weights(until))


@pytest.mark.usefixtures("small_backbone")
def test_the_outputs_of_a_training(
    run: Run, ellipses: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    outputs = run("one", epochs=1, precision="bf16", gradient_clip=0.0)
    assert capfd.readouterr() == ("", "")
    network = build(DETECTOR, Variant(attention="ds"), size_px=64, pixel_mm=2.0)
    load_trained(network, outputs["weights"])

    manifest = json.loads(outputs["manifest"].read_text())
    assert manifest["settings"]["variant"] == {"backbone": "resnet50", "attention": "ds"}
    assert manifest["settings"]["seed"] == 3
    assert "seeds" not in manifest["settings"]["train"]
    assert Detector.model_validate(manifest["settings"]["detector"]) == DETECTOR
    assert manifest["data"]["digest_sha256"] == sha256(ellipses.digest)
    assert manifest["data"]["synthetic"] is True
    assert manifest["machine"]["precision"] == "bf16-mixed"
    result = manifest["result"]
    weights_of = dict(network.named_parameters())
    assert result["parameters"] == sum(weight.numel() for weight in weights_of.values())
    assert result["parameters_attention"] == sum(
        weight.numel() for name, weight in weights_of.items() if "attention_" in name
    )
    name = "backbone.body.attention_layer4"
    assert result["gamma"][name] == weights_of[f"{name}.gamma"].item() >= 0
    assert set(result["branch_share"]) == set(result["gamma"])
    assert all(
        (share > 0) == (result["gamma"][name] > 0) for name, share in result["branch_share"].items()
    )

    (row,) = schemas.read(schemas.HISTORY, outputs["history"]).to_dict("records")
    parts = ("loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg")
    assert row["loss"] == pytest.approx(sum(row[part] for part in parts))
    assert row["learning_rate"] > 0
    assert 0 <= row["validation_map"] <= 1


@pytest.mark.usefixtures("small_backbone")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process outright")
def test_sigterm_ends_a_training_with_a_status(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    at_batch(0, monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as ended:
        run("ended")
    assert ended.value.code == 143
    assert [path.name for path in (tmp_path / "ended").iterdir()] == ["checkpoints"]
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.usefixtures("small_backbone")
def test_a_checkpoint_of_another_config_is_not_resumed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        kill_in(1, patch)
        with pytest.raises(Killed):
            run("killed", learning_rate=0.02)
    assert same(weights(run("killed")), weights(run("whole")))


CPU = Machine(torch.device("cpu"), "", 1, "32-true")
CONFIG = Train(batch_size=9, weight_decay=0.1, warmup_steps=0)


class Constant(nn.Module):
    """A network of two weights whose loss is 3 a + 4 b + `loss`, so that the gradient is (3, 4)."""

    def __init__(self, loss: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.loss = loss

    def forward(self, _images: list[Tensor], _targets: list[Any]) -> dict[str, Tensor]:
        loss = (self.weight * torch.tensor([3.0, 4.0])).sum() + self.loss
        return {"loss_classifier": loss, "loss_box_reg": torch.tensor(1.0)}


@pytest.fixture
def dataset(ellipses: Any) -> Callable[[str], SliceDataset]:
    files = {"store": ellipses.store, "boxes": ellipses.boxes, "split": ellipses.split}
    return lambda subset: SliceDataset(subset, windows=Detector().windows, **files)


def one_epoch(network: nn.Module, dataset: SliceDataset, config: Train) -> dict[str, float]:
    fabric = open_fabric(1, 1, CPU)
    model, optimizer = fabric.setup(network, sgd(network, config, "32-true"))
    return train_one_epoch(fabric, model, optimizer, dataset, config, seed=0, epoch=0)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_the_images(
    dataset: Callable[[str], SliceDataset], loss: float
) -> None:
    training = dataset("train")
    with pytest.raises(UserError) as caught:
        one_epoch(Constant(loss), training, CONFIG)
    message = str(caught.value)
    assert all(training[index].image_key in message for index in range(len(training)))
    assert f"loss_classifier {loss}" in message


@pytest.mark.parametrize(("limit", "norm"), [(0.0, 5.0), (2.0, 2.0), (9.0, 5.0)])
def test_gradients_are_clipped_to_the_norm_of_the_config(
    dataset: Callable[[str], SliceDataset], limit: float, norm: float
) -> None:
    network = Constant(0.0)
    changes = {"gradient_clip": limit, "learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0}
    losses = one_epoch(network, dataset("train"), CONFIG.model_copy(update=changes))
    assert network.weight.detach().norm().item() == pytest.approx(norm, rel=1e-4)
    expected = {"loss": 1.0, "loss_classifier": 0.0, "loss_box_reg": 1.0, "learning_rate": 1.0}
    assert losses == expected


def test_gamma_does_not_decay_and_has_its_own_rate() -> None:
    network = build(Detector(weights="none"), Variant(attention="se"), size_px=64, pixel_mm=2.0)
    groups = sgd(network, CONFIG, "32-true").param_groups
    ordered = [weight for group in groups for weight in group["params"]]
    assert all(one is other for one, other in zip(ordered, network.parameters(), strict=True))
    settings_of = {
        id(weight): (group["weight_decay"], group["rate"])
        for group in groups
        for weight in group["params"]
    }
    expected = {
        id(weight): (0.0, 0.1) if name.endswith("gamma") else (0.1, 1.0)
        for name, weight in network.named_parameters()
    }
    assert settings_of == expected
    assert list(expected.values()).count((0.0, 0.1)) == 2


class Opening(nn.Module):
    """A network whose loss grows with gamma, so that a step of 1 makes gamma -1."""

    def __init__(self, *, positive: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.attention = Residual(nn.Identity(), positive=positive)

    def forward(self, images: list[Tensor], _targets: list[Any]) -> dict[str, Tensor]:
        one = torch.ones((), device=images[0].device)
        return {"loss_classifier": self.attention(one) + self.weight}


@pytest.mark.parametrize(("positive", "gamma"), [(True, 0.0), (False, -0.25)])
def test_gamma_steps_at_its_own_rate_and_not_below_zero(
    dataset: Callable[[str], SliceDataset], positive: bool, gamma: float
) -> None:
    network = Opening(positive=positive)
    changes = {"learning_rate": 1.0, "gamma_rate": 0.25, "momentum": 0.0, "weight_decay": 0.0}
    losses = one_epoch(network, dataset("train"), CONFIG.model_copy(update=changes))
    assert network.attention.gamma.item() == gamma
    assert network.weight.item() == -1.0
    assert losses["learning_rate"] == 1.0


def test_frozen_weights_are_not_optimised() -> None:
    network = build(Detector(weights="coco"), Variant(), size_px=64, pixel_mm=2.0)
    (group,) = sgd(network, CONFIG, "32-true").param_groups
    trained = {id(weight) for weight in network.parameters() if weight.requires_grad}
    assert {id(weight) for weight in group["params"]} == trained
    assert group["fused"] is True
    (scaled,) = sgd(network, CONFIG, "16-mixed").param_groups
    assert scaled["fused"] is False


def rows(maps: list[float | None]) -> list[Row]:
    return [{"epoch": i, "validation_map": value} for i, value in enumerate(maps, start=1)]


@pytest.mark.parametrize(
    ("maps", "best"),
    [
        ([], 0),
        ([None], 0),
        ([0.1, 0.4, 0.3], 2),
        ([0.4, 0.4, 0.3], 2),
        ([0.0, None, 0.0], 3),
        ([None, 0.2, None], 2),
    ],
)
def test_the_best_epoch_of_equals_the_later(maps: list[float | None], best: int) -> None:
    assert best_epoch(rows(maps), Train(keep="best")) == best
    assert best_epoch(rows(maps), Train(keep="last")) == len(maps)


@pytest.mark.parametrize(
    ("maps", "patience", "ends"),
    [
        ([], 1, False),
        ([0.1], 1, False),
        ([0.2, 0.1], 1, True),
        ([0.2, 0.2], 1, True),
        ([0.2, 0.3], 1, False),
        ([0.3, 0.2, 0.1], 3, False),
        ([0.3, 0.2, 0.1, 0.2], 3, True),
        ([0.3, 0.2, 0.1, 0.31], 3, False),
        ([None, 0.3, None, 0.2, None], 2, False),
        ([None, 0.3, None, 0.2], 2, True),
        ([0.3, 0.2, 0.1], 0, False),
    ],
)
def test_training_ends_when_patience_does(
    maps: list[float | None], patience: int, ends: bool
) -> None:
    assert stalled(rows(maps), Train(patience_epochs=patience)) is ends


def test_a_network_is_validated_by_two_fractions(dataset: Callable[[str], SliceDataset]) -> None:
    network = build(Detector(weights="none", proposals=40), Variant(), size_px=64, pixel_mm=2.0)
    values = validate(network, dataset("validation"))
    assert set(values) == {"validation_map", "validation_box_ap50"}
    assert all(0 <= value <= 1 for value in values.values())


steps = st.integers(1, 500)


def config(schedule: str, warmup: int = 10) -> Train:
    return Train(learning_rate=0.02, warmup_steps=warmup, schedule=schedule)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["constant", "step", "cosine"]), steps, st.integers(0, 50), st.data())
def test_the_rate_is_positive_and_never_above_the_config(
    schedule: str, total: int, warmup: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, total - 1))
    rate = learning_rate(step, total, config(schedule, warmup))
    assert 0 < rate <= 0.02


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["constant", "cosine"]), st.integers(20, 500), st.integers(0, 50))
def test_the_rate_has_no_jumps(schedule: str, total: int, warmup: int) -> None:
    rates = [learning_rate(step, total, config(schedule, warmup)) for step in range(total)]
    steepest = 0.02 * max(1 / (warmup + 1), math.pi / 2 / max(1, total - warmup))
    changes = [abs(after - before) for before, after in pairwise(rates)]
    assert max(changes) <= steepest * (1 + 1e-9)


@settings(deadline=None, max_examples=50)
@given(st.integers(20, 500), st.integers(0, 10))
def test_a_step_drops_to_a_tenth_and_nothing_else_changes(total: int, warmup: int) -> None:
    rates = [learning_rate(step, total, config("step", warmup)) for step in range(warmup, total)]
    ratios = [after / before for before, after in pairwise(rates)]
    assert [ratio for ratio in ratios if ratio != 1] == pytest.approx([0.1, 0.1])


def test_warm_up_is_a_straight_line() -> None:
    rates = [learning_rate(step, 100, config("constant")) for step in range(12)]
    assert rates[:10] == pytest.approx([0.02 * (step + 1) / 11 for step in range(10)])
    assert rates[10:] == [0.02, 0.02]


def test_steps_drop_tenfold_twice() -> None:
    rates = [learning_rate(step, 100, config("step", 0)) for step in (59, 60, 84, 85, 99)]
    assert rates == pytest.approx([0.02, 0.002, 0.002, 0.0002, 0.0002])


def test_cosine_is_half_a_wave() -> None:
    rates = [learning_rate(step, 110, config("cosine")) for step in (10, 35, 60, 109)]
    expected = [1.0, 0.5 + 0.5 / math.sqrt(2), 0.5, 0.5 * (1 + math.cos(math.pi * 0.99))]
    assert rates == pytest.approx([0.02 * share for share in expected])


def test_a_training_shorter_than_its_warm_up_only_warms_up() -> None:
    rates = [learning_rate(step, 5, config("cosine")) for step in range(5)]
    assert rates == pytest.approx([0.02 * (step + 1) / 11 for step in range(5)])
