"""Adam over the rows of a table that a batch touches, block by block while they are in cache.

The gradient of a row is a weighted sum of the gradients of the texts it stands in. It is made for
a few rows at a time and used at once: a gradient of the whole table is never written to memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from nestvec.types import Embeddings, Rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Result = TypeVar("Result")
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's own defaults
_BLOCK_ITEMS = 2**17  # half a MiB of floats
_LEAST_ROWS = 1024  # of a worker


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


class RowAdam:
    """Adam (Kingma and Ba 2015) that reads and writes only the rows of a step.

    Moments of other rows stand still, as in PyTorch's ``SparseAdam``.
    """

    def __init__(self, table: Embeddings) -> None:
        """Take over a table, which is changed in place, [vocab, dim]."""
        self.table = table
        self._first = np.zeros_like(table)
        self._second = np.zeros_like(table)
        self._steps = 0

    def step(
        self, shares: csr_array, gradient: Embeddings, learning_rate: float, workers: Workers
    ) -> None:
        """Update the rows of all tokens that stand in a text.

        Args:
            shares: Of each token in each text, [vocab, n_texts].
            gradient: Of the texts' vectors, [n_texts, dim].
            learning_rate: Of this step.
            workers: Each updates rows of its own.
        """
        self._steps += 1
        tokens, shares = _without_empty_rows(shares)
        size = max(1, _BLOCK_ITEMS // self.table.shape[1])

        def update(part: slice) -> None:
            room = np.empty((3, size, self.table.shape[1]), dtype=np.float32)
            for start in range(part.start, part.stop, size):
                rows = slice(start, min(start + size, part.stop))
                block = shares[rows] @ gradient
                self._update(tokens[rows], block, learning_rate, room[:, : len(block)])

        workers.map(update, len(tokens), least=_LEAST_ROWS)

    def _update(
        self, tokens: Rows, gradient: Embeddings, learning_rate: float, room: Embeddings
    ) -> None:
        """Update some rows; the gradient is overwritten, as is the room, [3, n_tokens, dim]."""
        first, second, change = room
        _take(self._first, tokens, out=first)
        np.subtract(gradient, first, out=change)
        change *= 1 - _BETA1
        first += change
        self._first[tokens] = first

        _take(self._second, tokens, out=second)
        gradient *= gradient
        gradient -= second
        gradient *= 1 - _BETA2
        second += gradient
        self._second[tokens] = second

        np.sqrt(second, out=second)
        second *= (1 - _BETA2**self._steps) ** -0.5
        second += _EPSILON
        np.divide(first, second, out=change)
        change *= learning_rate / (1 - _BETA1**self._steps)
        vectors = _take(self.table, tokens, out=first)
        vectors -= change
        self.table[tokens] = vectors


def _take(table: Embeddings, rows: Rows, *, out: Embeddings) -> Embeddings:
    # With the default mode NumPy would make a copy first, to leave ``out`` alone in an error.
    return np.take(table, rows, axis=0, out=out, mode="clip")


def _without_empty_rows(matrix: csr_array) -> tuple[Rows, csr_array]:
    """Return the rows that hold something, ascending, and the matrix of these alone."""
    from scipy.sparse import csr_array

    rows = np.flatnonzero(np.diff(matrix.indptr))
    offsets = np.append(matrix.indptr[rows], matrix.indptr[-1:])
    shape = (len(rows), matrix.shape[1])
    return rows, csr_array((matrix.data, matrix.indices, offsets), shape=shape)
