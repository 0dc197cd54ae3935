from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_scenes import once, scenes

from dsnet.evaluate.bootstrap import MOST_UNDEFINED, estimate, estimate_over_seeds, weights
from dsnet.evaluate.matching import Floats, place
from dsnet.evaluate.metrics import statistics
from dsnet.evaluate.scene import Scene, Truth


def resampled(scene: Scene, counts: Floats) -> Scene:
    """Return the scene that holds each patient as often as `counts` says, each time as another."""
    images = np.repeat(np.arange(len(scene.patient)), counts[scene.patient].astype(int))
    first = (counts.cumsum() - counts).astype(int)  # number of each patient's first copy
    truth = Truth(*(getattr(scene.truth, name)[images] for name in ("box", "label", "level")))
    rows = [np.flatnonzero(scene.detections.image == image) for image in images]
    found = scene.detections.take(np.concatenate([np.empty(0, dtype=int), *rows]))
    copies = np.repeat(np.arange(len(images)), [len(part) for part in rows])
    return replace(
        scene,
        patient=first[scene.patient[images]] + place(images),
        truth=truth,
        detections=replace(found, image=copies),
        row=np.arange(len(images)),
    )


@settings(deadline=None, max_examples=25)
@given(scenes(most_detections=8, tied=False), st.integers(0, 1000))
def test_equals_resampling_by_hand(scene: Scene, seed: int) -> None:
    drawn = weights(len(scene.patient_keys), 5, seed)
    at_once = statistics(scene, drawn, iou=0.5, score=0.5)
    for row, counts in enumerate(drawn):
        copy = resampled(scene, counts)
        alone = statistics(copy, once(scene), iou=0.5, score=0.5)
        for name, value in alone.items():
            np.testing.assert_allclose(at_once[name][row], value[0], atol=1e-12, err_msg=name)


def test_weights_are_resamples_with_replacement() -> None:
    drawn = weights(6, 200, seed=3)
    assert (drawn[0] == 1).all()
    assert (drawn.sum(axis=1) == 6).all()
    np.testing.assert_array_equal(drawn, weights(6, 200, seed=3))
    assert (drawn != weights(6, 200, seed=4)).any()


def test_estimate_is_the_percentile_interval() -> None:
    values = np.concatenate([[0.4], np.arange(101) / 100, [np.nan]])
    assert estimate(values) == {"value": 0.4, "low": 0.025, "high": 0.975}


def test_undefined_is_none() -> None:
    assert estimate(np.full(5, np.nan)) == {"value": None, "low": None, "high": None}


def test_no_interval_where_few_resamples_define_the_statistic() -> None:
    values = np.full(201, 0.5)
    values[1 : 1 + int(200 * MOST_UNDEFINED)] = np.nan
    assert estimate(values)["low"] == 0.5
    values[-1] = np.nan
    assert estimate(values) == {"value": 0.5, "low": None, "high": None}


def test_seeds_are_averaged_on_each_resample_and_kept_apart() -> None:
    # The seeds err in opposite directions: their mean does not move with the patients.
    rising = np.concatenate([[0.4], np.arange(101) / 100])
    told = estimate_over_seeds(np.stack([rising, 1 - rising]))
    assert (told["value"], told["low"], told["high"]) == (0.5, 0.5, 0.5)
    assert told["by_seed"] == [0.4, 0.6]
    assert told["seed_sd"] == round(np.std([0.4, 0.6], ddof=1), 8)


def test_one_seed_has_no_spread_and_an_undefined_seed_leaves_no_mean() -> None:
    assert estimate_over_seeds(np.full((1, 11), 0.5))["seed_sd"] is None
    told = estimate_over_seeds(np.stack([np.full(11, 0.5), np.full(11, np.nan)]))
    assert told["value"] is None
    assert told["by_seed"] == [0.5, None]
