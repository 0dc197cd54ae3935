import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsnet.config.detector import Detector, Variant
from dsnet.detect.model import build
from dsnet.inference import speed
from dsnet.inference.speed import interleaved, measure_speed, summary
from dsnet.train.checkpoints import save

DETECTOR = Detector(weights="none", proposals=20)


def test_figures_are_medians_and_ratios_are_paired() -> None:
    variants = [Variant(attention=name) for name in ("none", "ds")]
    seconds = np.array([[0.1, 0.2, 0.4, 0.2, 0.2], [0.2, 0.25, 0.5, 0.25, 0.2]])
    none, ds = summary(variants, seconds)
    assert (none["attention"], none["fps"], none["ms_per_image"]) == ("none", 5.0, 200.0)
    assert none["fps_to_none"] == 1.0
    assert (ds["fps"], ds["ms_q1"], ds["ms_q3"]) == (4.0, 200.0, 250.0)
    assert ds["fps_to_none"] == pytest.approx(0.8)


def test_without_a_baseline_there_is_no_ratio() -> None:
    (one,) = summary([Variant(attention="se")], np.array([[0.1, 0.1]]))
    for name in ("fps_to_none", "fps_to_resnet50"):
        assert one[name] is one[f"{name}_low"] is one[f"{name}_high"] is None


def test_ratios_have_an_interval_over_the_rounds() -> None:
    # What slows both detectors in a round does not change their ratio.
    machine = np.random.default_rng(0).uniform(1, 3, 40)
    noise = np.random.default_rng(1).uniform(0.9, 1.1, 40)
    variants = [Variant(attention=name) for name in ("none", "ds")]
    none, ds = summary(variants, np.stack([machine, machine * 1.25 * noise]))
    assert none["fps_to_resnet50_low"] == none["fps_to_resnet50_high"] == 1
    assert ds["fps_to_none"] == ds["fps_to_resnet50"] == pytest.approx(0.8, abs=0.03)
    assert 0.72 < ds["fps_to_none_low"] < ds["fps_to_none"] < ds["fps_to_none_high"] < 0.89


def test_each_image_is_timed_with_all_networks_before_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed: list[tuple[Any, float]] = []
    monkeypatch.setattr(
        speed, "detect", lambda network, images: timed.append((network, images[0].max().item()))
    )
    images = [np.full((4, 4), hu, np.int16) for hu in (300, 600, 900)]
    seconds = interleaved(["a", "b"], images, Detector())
    assert seconds.shape == (2, 3)
    assert (seconds > 0).all()
    assert [network for network, _ in timed] == ["a", "b", "b", "a", "a", "b"]
    assert [value for _, value in timed] == pytest.approx([0.5, 0.5, 0.7, 0.7, 0.9, 0.9])


def test_all_variants_are_timed_in_one_process(ellipses: Any, tmp_path: Path) -> None:
    weights = []
    for attention in ("none", "se"):
        variant = Variant(backbone="mobilenet_v2", attention=attention)
        network = build(DETECTOR, variant, size_px=64, pixel_mm=2.0)
        path = tmp_path / f"{attention}.pt"
        save(network.state_dict(), path)
        weights.append(path)
    measure_speed(
        detector=DETECTOR,
        variants=["mobilenet_v2/none", "mobilenet_v2/se"],
        weights=weights,
        images=3,
        warmup=1,
        digest=ellipses.digest,
        store=ellipses.store,
        boxes=ellipses.boxes,
        speed=tmp_path / "speed.json",
    )
    report = json.loads((tmp_path / "speed.json").read_text())
    assert (report["size_px"], report["batch_size"], report["images"]) == (
        64,
        1,
        3,
    )
    assert report["threads"] >= 1
    assert [one["attention"] for one in report["variants"]] == ["none", "se"]
    for one in report["variants"]:
        assert one["ms_q1"] <= one["ms_per_image"] <= one["ms_q3"]
        assert one["fps"] == pytest.approx(1000 / one["ms_per_image"])
