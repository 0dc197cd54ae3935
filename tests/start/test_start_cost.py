from dataclasses import replace
from pathlib import Path

import pytest
from support.made_cohort import config_of

from dsnet import processes
from dsnet.config.detector import Variant
from dsnet.start import cost
from dsnet.start.check import Checked
from dsnet.start.cost import Measured, cost_of_table1
from dsnet.start.faults import summary_lines

MEASURED = Measured(2.0, 1.0, 10_000_000, "a CPU", "32-true", 2)
IMAGES = {"train": 100, "validation": 20, "test": 30}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """Have trainings measured by nobody, on 8 CPUs; return what is asked."""
    calls = []

    def measure(*_: object, **settings: float) -> Measured:
        calls.append(settings)
        return MEASURED

    monkeypatch.setattr(cost, "measure", measure)
    monkeypatch.setattr(processes, "has_gpu", lambda: False)
    monkeypatch.setattr(cost, "cpus", lambda: 8)
    return calls


def test_time_and_disk_follow_from_images_epochs_and_seeds(
    tmp_path: Path, asked: list[dict[str, float]]
) -> None:
    settings = {"seeds": [0, 1], "epochs": 10, "validate_every": 5}
    config = config_of(tmp_path / "cohort", train=settings)
    found = cost_of_table1(config, IMAGES)
    # Four detectors with two seeds, two at a time: ten epochs of 100 images, two looks at 20.
    assert found.hours == pytest.approx(4 * (10 * 100 * 2.0 + 2 * 20 * 1.0) / 3600)
    assert found.trainings == 8
    assert found.disk_bytes == 150 * 48**2 * 2 + (8 + 2 * 3) * 40_000_000
    assert found.free_bytes > 0
    assert asked[0] == {"size_px": 48, "pixel_mm": 4.0, "threads": 4}
    checked = Checked((), 36, 9, images=IMAGES)
    printed = "\n".join(summary_lines(checked, config, found, pixels=False))
    assert "Time      about 2.3 hours for Table 1's 8 trainings, 2 at a time (measured" in printed
    assert "Disk      0.6 GB in" in printed
    assert "TOO LITTLE" not in printed
    [disk] = [
        line
        for line in summary_lines(checked, config, replace(found, free_bytes=10**8), pixels=False)
        if line.startswith("Disk")
    ]
    assert disk.endswith("free: 0.1 GB, TOO LITTLE")


def test_a_gpu_or_all_processes_of_one_training_leave_none_beside_it(
    tmp_path: Path, asked: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    several = config_of(tmp_path / "cohort", train={"seeds": [0], "devices": 2})
    assert cost_of_table1(several, IMAGES).at_once == 1
    monkeypatch.setattr(processes, "has_gpu", lambda: True)
    one = config_of(tmp_path / "cohort", train={"seeds": [0], "devices": "auto"})
    assert cost_of_table1(one, IMAGES).at_once == 1
    assert [call["threads"] for call in asked] == [8, 8]


def test_a_training_is_timed_on_noise(tmp_path: Path) -> None:
    config = config_of(
        tmp_path / "cohort",
        detector={"weights": "none", "proposals": 8, "roi_samples": 4},
        train={"batch_size": 2},
    )
    variant = Variant(backbone="mobilenet_v2", attention="none")
    found = cost.measure(
        config.detector, config.train, variant, size_px=64, pixel_mm=3.0, threads=1
    )
    assert 0 < found.train_seconds < 60
    assert 0 < found.validate_seconds < 60
    assert found.parameters > 1_000_000
    assert found.threads == 1
