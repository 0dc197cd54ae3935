import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dsnet.config.detector import Detector, Window
from dsnet.detect.window import apply_windows

pixels = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=8)
windows = st.builds(
    Window,
    centre_hu=st.floats(-1000, 3000),
    width_hu=st.floats(1, 5000),
)


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
