from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dsnet import schemas
from dsnet.config.detector import Detector, Window
from dsnet.detect.dataset import SliceDataset, apply_windows
from dsnet.errors import UserError

pixels = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=8)
windows = st.builds(Window, centre_hu=st.floats(-1000, 3000), width_hu=st.floats(1, 5000))


def dataset(ellipses: Any, subset: str) -> SliceDataset:
    files = {"store": ellipses.store, "boxes": ellipses.boxes, "split": ellipses.split}
    return SliceDataset(subset, windows=Detector().windows, **files)


@pytest.mark.parametrize("name", schemas.SUBSETS)
def test_a_subset_holds_its_images_in_the_order_of_the_store(ellipses: Any, name: str) -> None:
    split = pd.read_csv(ellipses.split)
    wanted = sorted(split.loc[split["subset"] == name, "image_key"])
    images = dataset(ellipses, name)
    assert [images[index].image_key for index in range(len(images))] == wanted
    assert set(images.split["subset"]) == {name}
    assert sorted(images.boxes["image_key"]) == wanted


def test_an_example_is_what_the_tables_say(ellipses: Any) -> None:
    images = dataset(ellipses, "train")
    stored, table = np.load(ellipses.store), pd.read_csv(ellipses.boxes).set_index("image_key")
    for index in range(len(images)):
        example = images[index]
        row = table.loc[example.image_key]
        np.testing.assert_allclose(
            example.boxes, [row[list(schemas.BOX)].to_numpy(np.float64)], rtol=1e-6
        )
        assert example.labels.tolist() == [1 + schemas.CLASSES.index(row["label"])]
        expected = np.clip((stored[row["row"]] + 450) / 1500, 0, 1)
        np.testing.assert_allclose(example.image[2], expected, atol=1e-6)
        assert example.boxes.dtype == torch.float32


def test_an_empty_subset_is_refused(ellipses: Any) -> None:
    with pytest.raises(UserError, match=r"split\.csv: expected images in the subset 'tset'"):
        dataset(ellipses, "tset")


@settings(deadline=None, max_examples=50)
@given(pixels, windows)
def test_a_window_is_its_formula(hu: list[int], window: Window) -> None:
    image = apply_windows(np.array([hu], dtype=np.int16), [window])
    low = window.centre_hu - window.width_hu / 2
    expected = [min(1.0, max(0.0, (value - low) / window.width_hu)) for value in hu]
    assert image.dtype == torch.float32
    assert image.shape == (3, 1, len(hu))
    for channel in image:
        assert channel[0].tolist() == pytest.approx(expected, abs=2e-3)


def test_the_bone_window_is_the_default() -> None:
    hu = np.array([[-450, 300, 1050, 3000]], dtype=np.int16)
    image = apply_windows(hu, Detector().windows)
    assert image[0, 0].tolist() == [0.0, 0.5, 1.0, 1.0]


def test_three_windows_give_three_channels() -> None:
    hu = np.array([[0]], dtype=np.int16)
    three = [Window(centre_hu=centre, width_hu=400) for centre in (0, 100, -100)]
    assert apply_windows(hu, three)[:, 0, 0].tolist() == [0.5, 0.25, 0.75]


def test_two_windows_are_refused() -> None:
    with pytest.raises(ValidationError, match="one window, or three"):
        Detector(windows=(Window(), Window()))
