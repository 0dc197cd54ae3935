from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.config.detector import Detector, Train
from dsnet.detect.dataset import SliceDataset
from dsnet.schemas import CLASSES
from dsnet.train.balance import class_weights, downsample, strata

WEIGHTED = Train(balance="weighted")
images = st.lists(st.sampled_from(CLASSES), min_size=1, max_size=60)


@pytest.fixture
def part(ellipses: Any) -> SliceDataset:
    files = {"store": ellipses.store, "boxes": ellipses.boxes, "split": ellipses.split}
    return SliceDataset("train", windows=Detector().windows, **files)


@settings(deadline=None, max_examples=30)
@given(images, st.integers(0, 2**31), st.integers(0, 99))
def test_every_class_is_shown_as_often_as_the_rarest(
    classes: list[str], seed: int, epoch: int
) -> None:
    drawn = downsample(classes, seed=seed, epoch=epoch)
    assert drawn == sorted(set(drawn))
    counts = pd.Series(classes).value_counts()
    shown = pd.Series([classes[index] for index in drawn]).value_counts()
    assert shown.to_dict() == dict.fromkeys(counts.index, counts.min())
    assert drawn == downsample(classes, seed=seed, epoch=epoch)


def test_each_epoch_and_seed_draws_anew_and_all_images_come() -> None:
    classes = ["normal"] * 30 + ["osteopenia"] * 10 + ["osteoporosis"] * 20
    drawn = [downsample(classes, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in range(30)]
    assert len({tuple(one) for one in drawn}) == 60
    assert {index for one in drawn[:30] for index in one} == set(range(60))


def test_the_class_of_an_image_is_its_patients(part: SliceDataset) -> None:
    of_patient = dict(zip(part.split["patient_key"], part.split["stratum"], strict=True))
    of_image = dict(zip(part.boxes["image_key"], part.boxes["patient_key"], strict=True))
    expected = [of_patient[of_image[part[index].image_key]] for index in range(len(part))]
    assert strata(part) == expected


@settings(deadline=None, max_examples=30)
@given(st.tuples(*[st.integers(0, 50)] * 3).filter(any))
def test_weights_are_inverse_to_the_boxes_and_have_mean_one(counts: tuple[int, int, int]) -> None:
    labels = [name for name, count in zip(CLASSES, counts, strict=True) for _ in range(count)]
    weights = class_weights(_Labelled(labels), WEIGHTED)
    there = [(count, weight) for count, weight in zip(counts, weights, strict=True) if count]
    assert sum(weight for _, weight in there) / len(there) == pytest.approx(1)
    assert [count * weight for count, weight in there] == pytest.approx(
        [there[0][0] * there[0][1]] * len(there)
    )
    assert all(weight == 0 for count, weight in zip(counts, weights, strict=True) if not count)


def test_only_when_asked_for_do_classes_weigh_otherwise(part: SliceDataset) -> None:
    assert class_weights(part, Train()) is None
    assert class_weights(part, Train(balance="downsample")) is None
    assert class_weights(part, WEIGHTED) == (1.0, 1.0, 1.0)


class _Labelled:
    """What `class_weights` looks at of a part."""

    def __init__(self, labels: list[str]) -> None:
        self.boxes = pd.DataFrame({"label": labels})
