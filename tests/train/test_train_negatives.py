"""Training with slices that show nothing: which batches hold them, and that it trains."""

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsnet import schemas
from dsnet.config.detector import Detector, Train, Variant
from dsnet.detect.dataset import Negatives, SliceDataset
from dsnet.detect.inference import predict
from dsnet.detect.model import build
from dsnet.slice_tables import NEGATIVES
from dsnet.train.data import negatives_per_batch, with_negatives
from dsnet.train.step import train

DETECTOR = Detector(weights="none", proposals=40, roi_samples=16, loss="dice_ce")
PARAMS = Train(
    epochs=2, batch_size=4, warmup_steps=1, precision="32", negatives=0.5, flip_probability=1.0
)


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, Path]:
    """Return three negatives of the training subset and one of the test subset."""
    store, table = tmp_path / "negatives.npy", tmp_path / "negatives.csv"
    np.save(store, np.random.default_rng(0).integers(-100, 90, (4, 64, 64)).astype(np.int16))
    rows = pd.DataFrame(
        {
            "row": range(4),
            "image_key": [f"I-{900 + n:016x}" for n in range(4)],
            "patient_key": [f"P-{n:016x}" for n in range(4)],
            "subset": ["train", "test", "train", "train"],
            "reason": "L5",
        }
    )
    schemas.write(NEGATIVES, rows, table)
    return store, table


@given(
    sizes=st.lists(st.integers(2, 6), min_size=1, max_size=8),
    count=st.integers(1, 9),
    each=st.integers(0, 4),
)
def test_each_batch_has_its_own_images_and_so_many_negatives(
    sizes: list[int], count: int, each: int
) -> None:
    first = sum(sizes)
    ends = np.cumsum([0, *sizes])
    batches = [list(range(*ends_of)) for ends_of in pairwise(ends)]
    filled = with_negatives(batches, first, count, each, seed=1, epoch=2)
    for before, after in zip(batches, filled, strict=True):
        assert after[: len(before)] == before
        assert len(after) == len(before) + each
        assert all(first <= index < first + count for index in after[len(before) :])
    shown = [index for batch in filled for index in batch if index >= first]
    # In turn: none is shown twice before each was shown once.
    assert len(set(shown)) == min(count, len(shown))


def test_a_share_of_a_batch_leaves_two_images_with_boxes() -> None:
    shares = {0.0: 0, 0.34: 3, 0.8: 7}
    assert {s: negatives_per_batch(Train(negatives=s, batch_size=9)) for s in shares} == shares
    assert negatives_per_batch(Train(negatives=0.8, batch_size=2)) == 0


def test_negatives_are_images_without_boxes_after_those_with_some(
    ellipses: Any, stored: tuple[Path, Path]
) -> None:
    files = {name: path for name, path in asdict(ellipses).items() if name != "digest"}
    negatives = Negatives("train", *stored, DETECTOR.windows)
    dataset = SliceDataset("train", **files, windows=DETECTOR.windows, negatives=negatives)
    plain = SliceDataset("train", **files, windows=DETECTOR.windows)
    assert len(dataset) == len(plain)
    assert len(negatives) == 3
    example = dataset.augmented(len(dataset) + 1, lambda hu, boxes: (hu, boxes))
    assert example.image_key == f"I-{902:016x}"
    assert example.boxes.shape == (0, 4)
    assert example.labels.shape == (0,)


def test_predictions_on_no_image_are_an_empty_table(stored: tuple[Path, Path]) -> None:
    none = Negatives("validation", *stored, DETECTOR.windows)
    network = build(DETECTOR, Variant(backbone="mobilenet_v2"), size_px=64, pixel_mm=2.0)
    table = predict(network, none)
    assert table.empty
    schemas.PREDICTIONS.validate(table)


@pytest.mark.usefixtures("small_backbone")
def test_a_detector_trains_with_negatives_and_the_manifest_counts_them(
    ellipses: Any, stored: tuple[Path, Path], tmp_path: Path
) -> None:
    files = {name: tmp_path / name for name in ("weights", "history", "manifest")}
    files["history"] = tmp_path / "history.csv"
    train(
        detector=DETECTOR,
        params=PARAMS,
        variant=Variant(),
        seed=0,
        checkpoints=tmp_path / "checkpoints",
        negatives=stored[0],
        negatives_table=stored[1],
        **ellipses.paths(),
        **files,
    )
    history = schemas.read(schemas.HISTORY, files["history"])
    assert np.isfinite(history["loss"]).all()
    manifest = json.loads(files["manifest"].read_text())
    assert manifest["data"]["negatives"] == 3
    assert manifest["settings"]["train"]["negatives"] == 0.5
