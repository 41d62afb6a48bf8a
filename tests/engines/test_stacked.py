"""Stacked arrays equal one concatenated array."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestvec.engines.embedded.stacked import Stacked

LENGTHS = st.lists(st.integers(0, 7), min_size=1, max_size=6)


def stack(lengths, width=5, dtype=np.float16):
    whole = np.arange(sum(lengths) * width).reshape(-1, width).astype(dtype)
    ends = np.cumsum([0, *lengths])
    return whole, Stacked.of([whole[a:b] for a, b in pairwise(ends)])


@given(LENGTHS, st.data())
def test_rows_are_those_of_one_array(lengths, data):
    whole, stacked = stack(lengths)
    assert len(stacked) == len(whole)
    rows = st.lists(st.integers(0, max(0, len(whole) - 1)), max_size=10 if len(whole) else 0)
    rows = np.array(data.draw(rows), dtype=np.int64)
    width = data.draw(st.one_of(st.none(), st.integers(1, 5)))
    taken = stacked.take(rows, width)
    np.testing.assert_array_equal(taken, whole[rows][:, :width])
    assert taken.dtype == np.float16
    floats = stacked.floats(rows, 3)
    np.testing.assert_array_equal(floats, whole[rows, :3])
    assert floats.dtype == np.float32


@given(LENGTHS, st.data())
def test_single_values_are_those_of_one_array(lengths, data):
    whole, stacked = stack(lengths, width=1, dtype=np.int64)
    stacked = Stacked.of([array[:, 0] for array in stacked.arrays])
    some = st.lists(st.integers(0, max(0, len(whole) - 1)), max_size=10 if len(whole) else 0)
    rows = np.array(data.draw(some), dtype=np.int64)
    np.testing.assert_array_equal(stacked.take(rows), whole[rows, 0])


@given(LENGTHS, st.integers(1, 9))
def test_blocks_are_all_rows_in_order(lengths, size):
    whole, stacked = stack(lengths)
    blocks = list(stacked.blocks(size))
    assert all(0 < len(block) <= size for _, block in blocks)
    for first, block in blocks:
        np.testing.assert_array_equal(block, whole[first : first + len(block)])
    assert sum(len(block) for _, block in blocks) == len(whole)


def test_the_array_of_a_row_is_found_among_empty_arrays():
    _, stacked = stack([2, 0, 0, 3, 0, 1])
    assert stacked.array_numbers(np.arange(6)).tolist() == [0, 0, 3, 3, 3, 5]


@pytest.mark.parametrize("lengths", [[4], [2, 2]])
def test_take_returns_a_copy(lengths):
    whole, stacked = stack(lengths)
    taken = stacked.take(np.array([1, 3]))
    taken[:] = -1
    assert (whole >= 0).all()
