"""A training that goes on from another one's weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from dsnet.config.detector import Detector, Train, Variant
from dsnet.files import sha256
from dsnet.train.step import train

DETECTOR = Detector(weights="none", proposals=40, roi_samples=16, loss="dice_ce")


@pytest.mark.usefixtures("small_backbone")
def test_a_training_goes_on_from_own_weights(ellipses: Any, tmp_path: Path) -> None:
    def trained(name: str, detector: Detector, rate: float) -> dict[str, Path]:
        outputs = {
            "weights": tmp_path / name / "weights.pt",
            "history": tmp_path / name / "history.csv",
            "manifest": tmp_path / name / "manifest.json",
        }
        train(
            detector=detector,
            params=Train(
                epochs=2, batch_size=4, warmup_steps=1, precision="32", learning_rate=rate
            ),
            variant=Variant(attention="ds"),
            seed=1,
            checkpoints=tmp_path / name / "checkpoints",
            **ellipses.paths(),
            **outputs,
        )
        return outputs

    first = trained("first", DETECTOR, 0.02)
    own = {"weights": str(first["weights"]), "weights_sha256": sha256(first["weights"])}
    # A rate of nearly nothing: what comes out is what went in.
    second = trained("second", DETECTOR.model_copy(update=own), 1e-9)
    before, after = (torch.load(one["weights"], weights_only=True) for one in (first, second))
    for name, values in before.items():
        if "running" not in name and "num_batches" not in name:
            assert torch.allclose(values, after[name], atol=1e-4), name
    start = json.loads(second["manifest"].read_text())["start"]
    assert start["source"] == "file"
    assert start["sha256"] == own["weights_sha256"]
    assert start["new"] == {}
    losses = [pd.read_csv(one["history"])["loss"].to_numpy() for one in (first, second)]
    assert np.isfinite(losses[1]).all()
    assert losses[1][0] < losses[0][0]
