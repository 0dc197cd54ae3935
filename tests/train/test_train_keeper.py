from pathlib import Path
from typing import Any

import pytest

from dsnet.config.detector import Detector, Train, Variant
from dsnet.detect.dataset import SliceDataset
from dsnet.detect.model import build
from dsnet.train.checkpoints import RunFolder
from dsnet.train.keeper import Keeper, judge


def keeper(maps: list[float | None]) -> Keeper:
    made = Keeper(RunFolder(Path("unused")), part=None)
    made.load_state_dict(
        {"history": [{"epoch": i, "validation_map": m} for i, m in enumerate(maps, start=1)]}
    )
    return made


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
    assert keeper(maps).chosen(Train(keep="best")) == best
    assert keeper(maps).chosen(Train(keep="last")) == len(maps)


@pytest.mark.parametrize(
    ("maps", "patience", "stalled"),
    [
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
    maps: list[float | None], patience: int, stalled: bool
) -> None:
    assert keeper(maps).stalled(Train(patience_epochs=patience)) is stalled


def test_the_history_outlives_a_checkpoint() -> None:
    made = keeper([0.1, 0.2])
    other = keeper([])
    other.load_state_dict(made.state_dict())
    assert other.history == made.history


def test_a_network_is_judged_on_its_part(ellipses: Any) -> None:
    config = Detector(proposals=40)
    part = SliceDataset(
        "validation",
        store=ellipses.store,
        boxes=ellipses.boxes,
        split=ellipses.split,
        windows=config.windows,
    )
    network = build(config, Variant(), size_px=64, pixel_mm=2.0)
    found = judge(network, part)
    assert set(found) == {"validation_map", "validation_box_ap50"}
    assert all(0 <= value <= 1 for value in found.values())
