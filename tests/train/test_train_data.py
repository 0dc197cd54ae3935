from itertools import chain
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.config.detector import Detector, Train
from dsnet.detect.dataset import SliceDataset
from dsnet.schemas import CLASSES
from dsnet.train.data import (
    Stream,
    class_weights,
    epoch_batches,
    epoch_images,
    generator,
    image_classes,
    least_images,
    torch_seed,
)

WEIGHTED = Train(balance="weighted")
DOWNSAMPLE = Train(balance="downsample")
labels = st.lists(st.sampled_from(CLASSES), min_size=1, max_size=60)
counts, sizes, seeds = st.integers(2, 200), st.integers(2, 20), st.integers(0, 2**31)
numbers = st.integers(0, 2**32)


@pytest.fixture
def dataset(ellipses: Any) -> SliceDataset:
    files = {"store": ellipses.store, "boxes": ellipses.boxes, "split": ellipses.split}
    return SliceDataset("train", windows=Detector().windows, **files)


@settings(deadline=None, max_examples=50)
@given(numbers, numbers)
def test_a_key_has_one_stream_of_each_kind(seed: int, epoch: int) -> None:
    first = [int(generator(stream, seed, epoch).integers(2**63)) for stream in Stream]
    assert first == [int(generator(stream, seed, epoch).integers(2**63)) for stream in Stream]
    assert len(set(first)) == len(Stream)
    one, other = (torch_seed(Stream.PROPOSALS, seed, at) for at in (epoch, epoch + 1))
    assert one != other
    assert 0 <= one < 2**63


@settings(deadline=None, max_examples=30)
@given(labels, st.integers(0, 2**31), st.integers(0, 99))
def test_downsampling_uses_each_class_as_often_as_the_rarest(
    classes: list[str], seed: int, epoch: int
) -> None:
    images = epoch_images(classes, DOWNSAMPLE, seed=seed, epoch=epoch)
    assert images == sorted(set(images))
    available = pd.Series(classes).value_counts()
    used = pd.Series([classes[index] for index in images]).value_counts()
    assert used.to_dict() == dict.fromkeys(available.index, available.min())
    assert images == epoch_images(classes, DOWNSAMPLE, seed=seed, epoch=epoch)


def test_each_epoch_and_seed_samples_again_and_no_image_is_lost() -> None:
    classes = ["normal"] * 30 + ["osteopenia"] * 10 + ["osteoporosis"] * 20
    epochs = [
        epoch_images(classes, DOWNSAMPLE, seed=seed, epoch=epoch)
        for seed in (0, 1)
        for epoch in range(30)
    ]
    assert len({tuple(one) for one in epochs}) == 60
    assert {index for one in epochs[:30] for index in one} == set(range(60))


@pytest.mark.parametrize("balance", ["none", "weighted"])
def test_otherwise_an_epoch_uses_all_images(balance: str) -> None:
    config = Train(balance=balance)
    assert epoch_images(["normal", "normal", "osteoporosis"], config, seed=0, epoch=1) == [0, 1, 2]


def test_the_class_of_an_image_is_its_patients(dataset: SliceDataset) -> None:
    of_patient = dict(zip(dataset.split["patient_key"], dataset.split["stratum"], strict=True))
    of_image = dict(zip(dataset.boxes["image_key"], dataset.boxes["patient_key"], strict=True))
    expected = [of_patient[of_image[dataset[i].image_key]] for i in range(len(dataset))]
    assert image_classes(dataset) == expected


@settings(deadline=None, max_examples=30)
@given(st.tuples(*[st.integers(0, 50)] * 3).filter(any))
def test_weights_are_inverse_to_the_boxes_and_have_mean_one(counts: tuple[int, int, int]) -> None:
    labels = [name for name, count in zip(CLASSES, counts, strict=True) for _ in range(count)]
    weights = class_weights(_Labelled(labels), WEIGHTED)
    occurring = [(count, weight) for count, weight in zip(counts, weights, strict=True) if count]
    assert sum(weight for _, weight in occurring) / len(occurring) == pytest.approx(1)
    assert [count * weight for count, weight in occurring] == pytest.approx(
        [occurring[0][0] * occurring[0][1]] * len(occurring)
    )
    assert all(weight == 0 for count, weight in zip(counts, weights, strict=True) if not count)


def test_classes_weigh_differently_only_on_demand(dataset: SliceDataset) -> None:
    assert class_weights(dataset, Train()) is None
    assert class_weights(dataset, Train(balance="downsample")) is None
    assert class_weights(dataset, WEIGHTED) == (1.0, 1.0, 1.0)


@settings(deadline=None, max_examples=50)
@given(counts, sizes, seeds, st.integers(0, 100))
def test_each_image_once_and_never_a_batch_of_one(
    count: int, size: int, seed: int, epoch: int
) -> None:
    batches = epoch_batches(range(count), size, seed=seed, epoch=epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(count))
    assert all(2 <= len(batch) <= size + 1 for batch in batches)
    assert all(len(batch) == size for batch in batches[:-1])
    assert batches == epoch_batches(range(count), size, seed=seed, epoch=epoch)


def test_seeds_and_epochs_have_their_own_order() -> None:
    orders = {
        str(epoch_batches(range(50), 8, seed=seed, epoch=epoch))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(0, 200), st.integers(0, 20), seeds)
def test_all_devices_together_see_what_one_would(
    world: int, more_images: int, more_of_a_batch: int, seed: int
) -> None:
    least = least_images(world) * world
    count, size = least + more_images, least + more_of_a_batch
    alone = epoch_batches(range(count), size, seed=seed, epoch=3)
    together = epoch_batches(range(count), size, seed=seed, epoch=3, devices=world)
    for batch in together:
        shares = [batch[rank::world] for rank in range(world)]
        assert sorted(index for one in shares for index in one) == sorted(batch)
        held = [len(one) for one in shares]
        assert min(held) >= least_images(world)
        assert max(held) - min(held) <= 1
    whole = len(together) - 1 if len(together) < len(alone) else len(together)
    assert together[:whole] == alone[:whole]
    assert list(chain(*together[whole:])) == list(chain(*alone[whole:]))


class _Labelled:
    """What `class_weights` reads of a data set."""

    def __init__(self, labels: list[str]) -> None:
        self.boxes = pd.DataFrame({"label": labels})
