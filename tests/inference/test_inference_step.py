import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dsnet import schemas
from dsnet.config.detector import Detector, Variant
from dsnet.config.evaluate import Evaluate
from dsnet.detect.dataset import Negatives, SliceDataset
from dsnet.detect.device import reproducible, this_machine
from dsnet.detect.inference import freeze, predict
from dsnet.detect.model import build
from dsnet.errors import UserError
from dsnet.inference.negatives import predict_negatives
from dsnet.inference.step import predict_subsets
from dsnet.slice_tables import NEGATIVES
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


def test_false_boxes_on_negatives_are_those_of_the_weights(
    ellipses: Any, weights: Path, written: dict[str, Path], tmp_path: Path
) -> None:
    store, table, report = (tmp_path / name for name in ("n.npy", "n.csv", "n.json"))
    np.save(store, np.random.default_rng(1).normal(40, 30, (3, 64, 64)).astype(np.int16))
    rows = pd.DataFrame({"row": range(3), "image_key": [f"I-{n:016x}" for n in (97, 98, 99)]})
    rows["patient_key"] = [f"P-{n:016x}" for n in (0, 6, 7)]
    rows["subset"] = ["train", "test", "test"]
    rows["reason"] = ["L5", "T12", "off the mask"]
    schemas.write(NEGATIVES, rows, table)
    files = {name: path for name, path in ellipses.paths().items() if name != "store"}
    params = Evaluate(bootstrap=100, score=0.25)  # about which an untrained one scores
    predict_negatives(
        detector=DETECTOR,
        evaluate=params,
        variant=VARIANT,
        weights=weights,
        test=written["test"],
        store=store,
        table=table,
        report=report,
        **files,
    )
    network = build(DETECTOR, VARIANT, size_px=64, pixel_mm=2.0, seed=4)
    with reproducible(this_machine()):
        boxes = predict(freeze(network), Negatives("test", store, table, DETECTOR.windows))
    counts = boxes[boxes["score"] >= params.score]["image_key"].value_counts()
    assert 0 < counts.sum() < len(boxes)
    found = json.loads(report.read_text())
    assert (found["subset"], found["images"], found["patients"]) == ("test", 2, 2)
    for key, reason in zip(rows["image_key"][1:], rows["reason"][1:], strict=True):
        of_reason = {"images": 1, "false_boxes_per_image": counts.get(key, 0)}
        assert found["by_reason"][reason] == of_reason
