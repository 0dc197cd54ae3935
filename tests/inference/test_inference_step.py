import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dsnet import schemas
from dsnet.config.detector import Detector, Variant
from dsnet.detect.dataset import SliceDataset
from dsnet.detect.device import reproducible, this_machine
from dsnet.detect.inference import freeze, predict
from dsnet.detect.model import build
from dsnet.errors import UserError
from dsnet.inference.step import predict_subsets
from dsnet.train.checkpoints import save

DETECTOR = Detector(weights="none", proposals=40)
VARIANT = Variant(backbone="mobilenet_v2", attention="se")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = build(DETECTOR, VARIANT, size_px=64, pixel_mm=2.0, seed=4)
    path = tmp_path_factory.mktemp("model") / "weights.pt"
    save(network.state_dict(), path)
    return path


def outputs(folder: Path) -> dict[str, Path]:
    """Return the files that the step writes."""
    return {
        "test": folder / "test.parquet",
        "validation": folder / "validation.parquet",
        "coco_results": folder / "coco_results.json",
    }


@pytest.fixture(scope="module")
def written(
    ellipses: Any, weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    files = outputs(tmp_path_factory.mktemp("predictions"))
    predict_subsets(
        detector=DETECTOR, variant=VARIANT, weights=weights, **files, **ellipses.paths()
    )
    return files


def test_the_tables_are_the_detections_of_the_weights(
    ellipses: Any, written: dict[str, Path]
) -> None:
    files = {name: path for name, path in ellipses.paths().items() if name != "digest"}
    network = build(DETECTOR, VARIANT, size_px=64, pixel_mm=2.0, seed=4)
    for name in ("test", "validation"):
        dataset = SliceDataset(name, **files, windows=DETECTOR.windows)
        with reproducible(this_machine()):
            expected = predict(freeze(network), dataset)
        predictions = schemas.read(schemas.PREDICTIONS, written[name])
        pd.testing.assert_frame_equal(predictions, expected, check_dtype=False)


def test_coco_results_name_the_rows_of_the_store(ellipses: Any, written: dict[str, Path]) -> None:
    predictions = schemas.read(schemas.PREDICTIONS, written["test"])
    rows = schemas.read(schemas.SLICES, ellipses.boxes).set_index("image_key")["row"]
    detections = pd.DataFrame(json.loads(written["coco_results"].read_text()))
    assert sorted(detections["score"]) == sorted(predictions["score"])
    assert set(detections["image_id"]) == {
        row + 1 for row in rows[predictions["image_key"].unique()]
    }


def test_weights_of_another_variant_are_refused(
    ellipses: Any, weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"weights\.pt.*another detector"):
        predict_subsets(
            detector=DETECTOR,
            variant=Variant(backbone="mobilenet_v2", attention="ds"),
            weights=weights,
            **outputs(tmp_path / "out"),
            **ellipses.paths(),
        )
    assert not (tmp_path / "out").exists()
