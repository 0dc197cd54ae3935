import numpy as np
import pytest
from pydantic import ValidationError

from dsnet.baseline.thresholds import osteoporosis_alone, three_classes
from dsnet.config.evaluate import Baseline
from dsnet.schemas import CLASSES


def test_the_three_classes_at_their_borders() -> None:
    hu = np.array([400.0, 160.0, 159.99, 110.0, 109.99, -20.0])
    grades = three_classes(hu, Baseline())
    assert grades.sum(axis=1).tolist() == [1] * 6
    assert [CLASSES[k] for k in grades.argmax(axis=1)] == [
        "normal",
        "normal",
        "osteopenia",
        "osteopenia",
        "osteoporosis",
        "osteoporosis",
    ]


def test_osteoporosis_alone_at_its_border() -> None:
    grades = osteoporosis_alone(np.array([135.0, 134.99]), Baseline().balanced_hu)
    assert grades.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_thresholds_leave_room_for_osteopenia() -> None:
    with pytest.raises(ValidationError, match="below normal_hu"):
        Baseline(normal_hu=120, osteoporosis_hu=120)
