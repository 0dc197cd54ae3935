from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from dsnet import contract
from dsnet.config import Detector, Variant
from dsnet.detect.model import build
from dsnet.detect.part import Part
from dsnet.detect.predict import predict
from dsnet.errors import UserError
from dsnet.evaluate.predict import predict_part
from dsnet.train.folder import save

DETECTOR = Detector(proposals=40)
VARIANT = Variant(attention="se")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    network = build(DETECTOR, VARIANT, size_px=64, pixel_mm=2.0, seed=4)
    save(network.state_dict(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def test_the_table_is_what_the_weights_find(ellipses: Any, weights: Path, tmp_path: Path) -> None:
    table = tmp_path / "out" / "predictions.parquet"
    predict_part(
        detector=DETECTOR,
        variant=VARIANT,
        weights=weights,
        part="test",
        predictions=table,
        **ellipses.paths(),
    )
    found = contract.read(contract.PREDICTIONS, table)
    files = {name: path for name, path in ellipses.paths().items() if name != "digest"}
    part = Part("test", **files, windows=DETECTOR.windows)
    network = build(DETECTOR, VARIANT, size_px=64, pixel_mm=2.0, seed=4)
    torch.use_deterministic_algorithms(True)
    expected = predict(network, part)
    torch.use_deterministic_algorithms(False)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_weights_of_another_variant_are_refused(
    ellipses: Any, weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"weights\.pt.*another detector"):
        predict_part(
            detector=DETECTOR,
            variant=Variant(attention="ds"),
            weights=weights,
            part="test",
            predictions=tmp_path / "predictions.parquet",
            **ellipses.paths(),
        )
    assert not (tmp_path / "predictions.parquet").exists()
