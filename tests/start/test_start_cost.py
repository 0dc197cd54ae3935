from pathlib import Path

import pytest
from support.made_cohort import config_of

from dsnet.start import cost
from dsnet.start.check import Checked
from dsnet.start.cost import cost_of_table1
from dsnet.start.view import summary_lines
from dsnet.train import estimate
from dsnet.train.estimate import Measured

MEASURED = Measured(2.0, 1.0, 10_000_000, "a CPU", "32-true", 2)
IMAGES = {"train": 100, "validation": 20, "test": 30}


def test_time_and_disk_follow_from_images_epochs_and_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measure(*_: object, **grid: float) -> Measured:
        asked.append(grid)
        return MEASURED

    monkeypatch.setattr(estimate, "measure", measure)
    settings = {"seeds": [0, 1], "epochs": 10, "validate_every": 5}
    config = config_of(tmp_path / "cohort", train=settings)
    found = cost_of_table1(config, IMAGES)
    # Four detectors with two seeds: ten epochs of 100 images, two looks at 20.
    assert found.hours == pytest.approx(8 * (10 * 100 * 2.0 + 2 * 20 * 1.0) / 3600)
    assert found.trainings == 8
    assert found.disk_bytes == 150 * 48**2 * 2 + (8 + 3) * 40_000_000
    assert found.free_bytes > 0
    assert asked[0] == {"size_px": 48, "pixel_mm": 4.0}
    checked = Checked((), 36, 9, images=IMAGES)
    printed = "\n".join(summary_lines(checked, config, found, pixels=False))
    assert "Time      about 4.5 hours for Table 1's 8 trainings" in printed
    assert "Disk      0.4 GB in" in printed


def test_a_training_is_timed_on_noise(tmp_path: Path) -> None:
    config = config_of(
        tmp_path / "cohort",
        detector={"weights": "none", "proposals": 8, "roi_samples": 4},
        train={"batch_size": 2},
    )
    variant = cost.Variant(backbone="mobilenet_v2", attention="none")
    found = estimate.measure(config.detector, config.train, variant, size_px=64, pixel_mm=3.0)
    assert 0 < found.train_seconds < 60
    assert 0 < found.validate_seconds < 60
    assert found.parameters > 1_000_000
