"""Workers: every row once, in order; PyTorch's number of threads is restored."""

import threading

import pytest
import torch

from nestvec.train.row_adam import start_workers


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("n", "parts"), [(0, 1), (1, 1), (199, 1), (200, 2), (301, 3), (1001, 3)])
def test_each_row_is_in_one_part_and_no_part_is_too_small(n, parts):
    with start_workers() as workers:
        found = workers.map(lambda part: range(n)[part], n, min_rows=100)
    assert len(found) == parts
    assert [line for part in found for line in part] == list(range(n))
    assert parts == 1 or min(map(len, found)) >= 100


def test_parts_run_in_parallel_with_one_thread_each():
    meeting = threading.Barrier(3, timeout=20)  # passed only where all three are there

    def meet(part):
        meeting.wait()
        return torch.get_num_threads()

    with start_workers() as workers:
        assert workers.map(meet, 3, min_rows=1) == [1, 1, 1]
    assert torch.get_num_threads() == 3


def test_an_error_in_a_part_is_raised_and_threads_are_restored():
    def fail(part):
        raise ValueError(f"from {part.start}")

    with pytest.raises(ValueError, match="from 0"), start_workers() as workers:
        workers.map(fail, 4, min_rows=1)
    assert torch.get_num_threads() == 3
