from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.train.stream import Use, generator, torch_seed

numbers = st.integers(0, 2**32)


@settings(deadline=None, max_examples=50)
@given(numbers, numbers)
def test_a_place_has_one_stream_and_shares_it_with_no_other(seed: int, epoch: int) -> None:
    drawn = [int(generator(use, seed, epoch).integers(2**63)) for use in Use]
    assert drawn == [int(generator(use, seed, epoch).integers(2**63)) for use in Use]
    assert len(set(drawn)) == len(Use)
    assert torch_seed(Use.SAMPLE, seed, epoch) != torch_seed(Use.SAMPLE, seed, epoch + 1)
    assert 0 <= torch_seed(Use.SAMPLE, seed, epoch) < 2**63
