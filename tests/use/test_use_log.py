"""Trainings that are handed to the loggers of Lightning, finished or under way."""

import importlib.util
import json
from pathlib import Path

import lightning_fabric.loggers
import numpy as np
import pandas as pd
import pytest
from lightning_fabric.loggers import CSVLogger
from typer.testing import CliRunner

from dsnet import schemas
from dsnet.cli import app
from dsnet.errors import UserError
from dsnet.source_digest import closure
from dsnet.train.checkpoints import save
from dsnet.use.runs import log_trainings

FINISHED, UNDER_WAY = "resnet50/ds/seed0", "vgg16/none/seed1"
GAMMA = "gamma/backbone.body.attention_layer4"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return results with a training of two epochs, and one that has done its first."""
    columns = list(schemas.HISTORY.columns)
    history = pd.DataFrame({name: [1.5, 0.5] for name in columns}).assign(epoch=[1, 2])
    history["validation_map"] = [np.nan, 0.9]
    run = tmp_path / "results" / "models" / FINISHED
    schemas.write(schemas.HISTORY, history, run / "history.csv")
    result = {"epoch": 2, "gamma": {"backbone.body.attention_layer4": 0.25}}
    settings = {"detector": {"weights": "/home/jane.doe/weights.pt"}}
    (run / "manifest.json").write_text(json.dumps({"settings": settings, "result": result}))
    checkpoint = tmp_path / "results" / "checkpoints" / UNDER_WAY / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    row = {name: None if name.startswith("validation") else 2.5 for name in columns} | {"epoch": 1}
    save({"network": {}, "history": [row]}, checkpoint)
    return tmp_path / "results"


def test_losses_validation_and_gammas_and_nothing_else_are_logged(
    results: Path, tmp_path: Path
) -> None:
    epochs = log_trainings(results, lambda run: CSVLogger(tmp_path / "logs", run, ""))
    assert epochs == {FINISHED: 2, UNDER_WAY: 1}
    logged = pd.read_csv(tmp_path / "logs" / FINISHED / "metrics.csv").groupby("step").last()
    names = set(schemas.HISTORY.columns) - {"epoch", "seconds"} | {GAMMA}
    assert set(logged) == names
    assert logged["loss"].tolist() == [1.5, 0.5]
    assert logged[["validation_map", GAMMA]].loc[2].tolist() == [0.9, 0.25]
    assert logged[["validation_map", GAMMA]].loc[1].isna().all()
    begun = pd.read_csv(tmp_path / "logs" / UNDER_WAY / "metrics.csv")
    assert begun.to_dict("records") == [
        {"step": 1} | dict.fromkeys(names - {GAMMA, "validation_map", "validation_box_ap50"}, 2.5)
    ]
    written = [path for path in (tmp_path / "logs").rglob("*") if path.is_file()]
    assert not any(b"jane" in path.read_bytes() for path in written)


def test_no_training_depends_on_the_logger() -> None:
    """Else a change to it would train every detector again (docs/adr/0002)."""
    assert "runs.py" not in [path.name for path in closure("dsnet.train.step")]


def test_without_tensorboard_or_trainings_a_sentence_says_so(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="a results folder with a training"):
        log_trainings(tmp_path, CSVLogger)
    module = lightning_fabric.loggers.tensorboard
    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(module, name, False)
    done = CliRunner().invoke(app, ["tensorboard", str(results), "--output", str(tmp_path / "tb")])
    assert done.exit_code == 1
    assert "pip install tensorboard" in done.output
    assert not (tmp_path / "tb").exists()


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="no tensorboard")
def test_tensorboard_reads_the_log_and_a_second_one_replaces_it(
    results: Path, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415 - optional
        EventAccumulator,
    )

    for _ in range(2):
        done = CliRunner().invoke(app, ["tensorboard", str(results), "--output", str(tmp_path)])
        assert done.exit_code == 0, done.output
        assert f"{FINISHED}: 2 epochs" in done.output
    (events,) = (tmp_path / FINISHED).iterdir()
    read = EventAccumulator(str(events)).Reload()
    assert [(one.step, one.value) for one in read.Scalars("loss")] == [(1, 1.5), (2, 0.5)]
    assert [(one.step, one.value) for one in read.Scalars(GAMMA)] == [(2, 0.25)]
