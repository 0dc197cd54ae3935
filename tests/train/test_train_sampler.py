from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.train.sampler import batches

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
