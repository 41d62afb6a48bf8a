"""Threads that each take a part of a step's lines or rows, and meet only at its end.

PyTorch's own threads meet after every single operation, and spin while they wait. Where another
program has one of the cores that is many times slower than one thread; a few long parts are not,
and they also share out what NumPy and SciPy do on one thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

Result = TypeVar("Result")


class Workers:
    """A pool of threads, which computes a part each."""

    def __init__(self, pool: Executor, count: int) -> None:
        """Bind a pool to the number of its threads."""
        self._pool, self._count = pool, count

    def map(self, function: Callable[[slice], Result], n: int, *, least: int) -> list[Result]:
        """Call a function with each part of ``n`` lines, at the same time.

        Args:
            function: What to do with a part.
            n: Number of lines.
            least: Lines that are worth a part of their own.

        Returns:
            A result for each part, in order.
        """
        parts = _parts(n, min(self._count, max(1, n // least)))
        if len(parts) == 1:
            return [function(parts[0])]
        return list(self._pool.map(function, parts))


@contextmanager
def start_workers() -> Iterator[Workers]:
    """Start as many as PyTorch may have threads; in the block it computes on one for each."""
    import torch

    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield Workers(pool, count)
    finally:
        torch.set_num_threads(count)


def _parts(n: int, count: int) -> list[slice]:
    ends = [n * number // count for number in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(ends)]
