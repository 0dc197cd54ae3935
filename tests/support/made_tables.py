"""Metrics, manifests and speeds as the steps before write them, made by hand."""

import json
from pathlib import Path
from typing import Any

from dsnet.evaluate.metrics import DEFINITIONS
from dsnet.tables.detectors import RATIOS

SEEDS = (3, 5)
GRADED = tuple(name for name in DEFINITIONS if name.startswith(("level_", "patient_")))


def statistic(value: float) -> dict[str, Any]:
    """Return one statistic with its interval and seeds."""
    return {
        "value": value,
        "low": value - 0.1,
        "high": value + 0.1,
        "seed_sd": 0.0125,
        "method": "bootstrap",
        "by_seed": [value] * len(SEEDS),
    }


def report(value: float, names: tuple[str, ...] = tuple(DEFINITIONS)) -> dict[str, Any]:
    """Return a metrics file in which every statistic is `value`."""
    return {
        "cohort": "phantom",
        "synthetic": True,
        "slices_sha256": "0" * 64,
        "subset": "test",
        "seeds": list(SEEDS),
        "counts": {"patients": 12, "images": 96, "boxes": 96, "detections": int(1000 * value)},
        "thresholds": {"iou": 0.5, "score": 0.5},
        "interval": {"scope": "patients and trainings (2 seeds)", "resamples": 1000, "seed": 0},
        "metrics": {name: statistic(value) for name in names},
        "chance": {
            "p975": value / 2,
            "p_value": 0.004,
            "permutations": 1000,
            "above_chance": value > 0.55,
        },
    }


def timing(*names: str) -> dict[str, Any]:
    """Return what the speed step writes."""
    rows = [
        {
            **dict(zip(("backbone", "attention"), name.split("/"), strict=True)),
            "fps": 1.23456,
            "ms_per_image": 810.006,
            "ms_q1": 800.0,
            "ms_q3": 820.0,
            **dict.fromkeys(RATIOS, 0.98765),
        }
        for name in names
    ]
    machine = {"device": "cpu", "name": "a CPU", "threads": 2, "size_px": 128}
    return {**machine, "images": 20, "variants": rows}


def write(path: Path, content: Any) -> None:
    """Write JSON, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
