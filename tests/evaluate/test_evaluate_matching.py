import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torchvision.ops import batched_nms, box_iou

from dsnet.evaluate.matching import Floats, Integers, iou, match, place, suppress

QUICK = settings(deadline=None, max_examples=50)


def boxes(count: int) -> st.SearchStrategy[Floats]:
    corner = arrays.arrays(np.float64, (count, 4), elements=st.integers(0, 20))
    return corner.map(lambda c: np.concatenate([c[:, :2], c[:, :2] + c[:, 2:]], axis=1))


@QUICK
@given(boxes(6), boxes(5))
def test_iou_equals_torchvision_and_is_symmetric(one: Floats, other: Floats) -> None:
    ours = iou(one[:, None], other)
    theirs = box_iou(torch.from_numpy(one), torch.from_numpy(other)).nan_to_num().numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_array_equal(ours.T, iou(other[:, None], one))
    assert (ours >= 0).all()
    assert (ours <= 1).all()


def test_iou_by_hand() -> None:
    assert iou(np.array([0.0, 0, 2, 2]), np.array([1.0, 0, 3, 2])) == 1 / 3
    assert iou(np.zeros(4), np.zeros(4)) == 0


def test_best_score_takes_first_and_the_best_overlap() -> None:
    overlap = np.array([[0.6, 0.8], [0.7, 0.9], [0.55, 0.2]])
    slot = match(overlap, np.array([0, 0, 0]), np.array([0.5, 0.75]))
    # At 0.5 the second detection finds its favourite gone and takes the other; the third is late.
    np.testing.assert_array_equal(slot, [[1, 0, -1], [1, -1, -1]])


def test_overlap_at_the_threshold_counts_and_equals_go_to_the_last() -> None:
    slot = match(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 1]), np.array([0.5, 1.0]))
    np.testing.assert_array_equal(slot, [[1, 0], [-1, 0]])


def test_groups_do_not_compete() -> None:
    slot = match(np.full((4, 1), 0.9), np.array([3, 1, 3, 1]), np.array([0.5]))
    np.testing.assert_array_equal(slot, [[0, 0, -1, -1]])


def test_nothing_to_match() -> None:
    assert match(np.empty((0, 2)), np.empty(0, dtype=int), np.array([0.5])).shape == (1, 0)
    assert match(np.full((2, 1), -1.0), np.array([0, 0]), np.array([0.5])).tolist() == [[-1, -1]]


@QUICK
@given(arrays.arrays(np.int64, st.integers(0, 12), elements=st.integers(0, 3)))
def test_place_counts_within_the_group(group: Integers) -> None:
    literal = [list(group[:row]).count(value) for row, value in enumerate(group)]
    assert place(group).tolist() == literal


@QUICK
@given(boxes(12), st.integers(0, 11))
def test_suppress_equals_torchvision(box: Floats, cut: int) -> None:
    group = (np.arange(12) >= cut).astype(np.int64)
    falling = torch.arange(12, 0, -1, dtype=torch.float64)
    kept = batched_nms(torch.from_numpy(box), falling, torch.from_numpy(group), 0.5)
    assert np.flatnonzero(suppress(box, group, 0.5)).tolist() == sorted(kept.tolist())
