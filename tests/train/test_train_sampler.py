from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.train.sampler import PER_DEVICE, batches, share

images, sizes, seeds = st.integers(2, 200), st.integers(2, 20), st.integers(0, 2**31)


@settings(deadline=None, max_examples=50)
@given(images, sizes, seeds, st.integers(0, 100))
def test_each_image_once_and_never_alone(count: int, size: int, seed: int, epoch: int) -> None:
    parts = batches(count, size, seed=seed, epoch=epoch)
    assert sorted(index for part in parts for index in part) == list(range(count))
    assert all(2 <= len(part) <= size + 1 for part in parts)
    assert all(len(part) == size for part in parts[:-1])
    assert parts == batches(count, size, seed=seed, epoch=epoch)


def test_seeds_and_epochs_have_their_own_order() -> None:
    orders = {
        str(batches(50, 8, seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)
    }
    assert len(orders) == 9


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(0, 200), st.integers(0, 20), seeds)
def test_all_devices_together_see_what_one_would(
    world: int, more_images: int, more_of_a_batch: int, seed: int
) -> None:
    least = PER_DEVICE * world
    count, size = least + more_images, least + more_of_a_batch
    alone = batches(count, size, seed=seed, epoch=3)
    together = batches(count, size, seed=seed, epoch=3, smallest=least)
    for batch in together:
        shares = [share(batch, rank, world) for rank in range(world)]
        assert sorted(index for one in shares for index in one) == sorted(batch)
        counts = [len(one) for one in shares]
        assert min(counts) >= PER_DEVICE
        assert max(counts) - min(counts) <= 1
    whole = len(together) - 1 if len(together) < len(alone) else len(together)
    assert together[:whole] == alone[:whole]
    assert list(chain(*together[whole:])) == list(chain(*alone[whole:]))
    assert share(alone[0], 0, 1) == alone[0]
