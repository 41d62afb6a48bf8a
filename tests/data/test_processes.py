import os
import time
from contextlib import closing
from multiprocessing import active_children

import pytest

from nestvec.data.processes import map_in_processes


def _later_for_smaller(number):
    time.sleep(0.05 * (4 - number))
    return number, os.getpid()


def _long(number):
    return b"x" * 50_000_000 if number == 0 else b""


def _refuse_two(number):
    if number == 2:
        raise ValueError("two")
    return number


def _die(number):
    os._exit(3)


def test_results_come_in_the_order_of_the_items_from_other_processes():
    numbers, ids = zip(*map_in_processes(_later_for_smaller, range(5), 2), strict=True)
    assert numbers == (0, 1, 2, 3, 4)
    assert os.getpid() not in ids
    assert len(set(ids)) == 2
    assert active_children() == []
    assert list(map_in_processes(_later_for_smaller, [], 2)) == []


@pytest.mark.parametrize("items", [range(1, 40), [1, 0, 0, 0]])
def test_closing_ends_the_processes_even_as_they_write(items):
    with closing(map_in_processes(_long, items, 2)) as results:
        assert next(results) == b""
        start = time.monotonic()
    assert time.monotonic() - start < 30  # for ever, if it waited
    assert active_children() == []


def test_what_the_function_raises_is_raised_here():
    with pytest.raises(ValueError, match="two"):
        list(map_in_processes(_refuse_two, range(9), 2))
    assert active_children() == []


def test_a_process_that_dies_raises():
    with pytest.raises(ChildProcessError, match="ended before it returned"):
        list(map_in_processes(_die, range(3), 2))
    assert active_children() == []
