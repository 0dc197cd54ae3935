from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.baseline.features import annotated, best_boxes, detected, measure, region
from dsnet.config.evaluate import Baseline
from dsnet.schemas import BOX, CLASSES, FEATURES_HU
from dsnet.slices import SliceStore

BOX_HERE = np.array([20.0, 24.0, 54.0, 48.0])


def made_body(core_hu: int, shell_hu: int) -> np.ndarray:
    """Return the ellipse that fills the box, its outer third shell."""
    y, x = np.mgrid[:72, :72] + 0.5
    radius = np.hypot((x - 37) / 17, (y - 36) / 12)
    return np.where(radius <= 0.67, core_hu, np.where(radius <= 1, shell_hu, -100)).astype(np.int16)


def test_a_made_body_gives_back_its_hu() -> None:
    params = Baseline(core_width_fraction=0.5, core_depth_fraction=0.4, rim_fraction=0.2)
    measured = measure(made_body(137, 640), BOX_HERE, params)
    assert measured is not None
    assert dict(zip(FEATURES_HU, measured.tolist(), strict=True)) == {
        "core_mean_hu": 137,
        "core_sd_hu": 0,
        "core_p10_hu": 137,
        "rim_mean_hu": 640,
    }


def test_mean_deviation_and_percentile_are_numpys_over_the_ellipse_written_out() -> None:
    image = np.random.default_rng(0).normal(150, 40, (72, 72)).astype(np.int16)
    params = Baseline()
    inside = [
        image[row, column]
        for row in range(24, 48)
        for column in range(20, 54)
        if ((column + 0.5 - 37) / (0.25 * 34)) ** 2
        + ((row + 0.5 - (24 + 0.42 * 24)) / (0.2 * 24)) ** 2
        <= 1
    ]
    measured = measure(image, BOX_HERE, params)
    assert measured is not None
    expected = [np.mean(inside), np.std(inside), np.percentile(inside, 10)]
    assert measured[:3] == pytest.approx(expected, abs=0.006)


@settings(deadline=None, max_examples=30)
@given(st.integers(-200, 400), st.floats(-6, 6), st.floats(-6, 6))
def test_a_shift_of_hu_shifts_the_means_and_leaves_the_deviation(
    shift_hu: int, x: float, y: float
) -> None:
    image = np.random.default_rng(1).normal(150, 40, (72, 72)).astype(np.int16)
    box = BOX_HERE + np.array([x, y, x, y])
    before, after = (measure(hu, box, Baseline()) for hu in (image, image + np.int16(shift_hu)))
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(np.array([1, 0, 1, 1]) * shift_hu, abs=0.011)


@pytest.mark.parametrize("box", [[30, 30, 30, 40], [30, 30, 33, 33], [200, 200, 240, 240]])
def test_too_small_a_box_is_no_measurement(box: list[float]) -> None:
    assert measure(made_body(150, 600), np.array(box, dtype=np.float64), Baseline()) is None


def test_core_and_rim_share_no_pixel_and_lie_in_the_front() -> None:
    body = region(made_body(150, 600), BOX_HERE, Baseline())
    assert not (body.core & body.rim).any()
    rows = np.flatnonzero(body.core.any(axis=1))
    assert rows.max() < 0.65 * len(body.hu)  # the veins enter behind
    assert np.flatnonzero(body.rim.any(axis=1)).max() < 0.5 * len(body.hu)


def detection(
    image: str, background: float, label: str, score: float, x: float
) -> dict[str, object]:
    probabilities = {f"p_{name}": (1 - background) / 3 for name in CLASSES}
    edges = dict(zip(BOX, (x, 10.0, x + 20, 30.0), strict=True))
    return (
        {"image_key": image, "label": label, "score": score}
        | edges
        | probabilities
        | {"p_background": background}
    )


def test_the_best_box_is_the_one_least_like_background_regardless_of_class() -> None:
    predictions = pd.DataFrame(
        [
            detection("a", 0.3, "normal", 0.6, 1),
            detection("a", 0.1, "osteopenia", 0.2, 2),
            # The same proposal: the likelier class has the better box.
            detection("a", 0.1, "osteoporosis", 0.7, 3),
            detection("b", 0.6, "normal", 0.4, 4),
        ]
    )
    best = best_boxes(predictions, 0.5)
    assert best[["image_key", "x_min"]].to_numpy().tolist() == [["a", 3.0]]
    assert best_boxes(predictions.iloc[::-1], 0.5).equals(best)


def test_where_the_detector_reports_nothing_there_is_no_measurement(tmp_path: Path) -> None:
    body = made_body(150, 600)
    np.save(tmp_path / "s.npy", np.stack([body, body]))
    boxes = pd.DataFrame(
        {
            "row": [0, 1],
            "image_key": ["I-000000000000000a", "I-000000000000000b"],
            "patient_key": "P-000000000000000a",
            "level": "L1",
            **dict(zip(BOX, BOX_HERE, strict=True)),
            "label": "normal",
        }
    )
    boxes.to_csv(tmp_path / "s.csv", index=False)
    store = SliceStore(tmp_path / "s.npy", tmp_path / "s.csv")
    boxes = boxes.assign(subset="test")
    best = boxes.iloc[:1][["image_key", *BOX]].assign(p_background=0.2)
    own = detected(store, boxes, best, Baseline())
    assert own["core_mean_hu"].isna().tolist() == [False, True]
    assert own["box"].tolist() == ["detected", "detected"]
    given_box = annotated(store, boxes, Baseline())
    assert given_box["core_mean_hu"].tolist() == [own["core_mean_hu"][0]] * 2
