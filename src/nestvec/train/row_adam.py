"""Adam that updates only the table rows used by a batch, in blocks that fit in the cache.

The gradient of a row is a weighted sum of the gradients of the texts that contain its token. It is
computed for a block of rows and used immediately. A gradient of the whole table is never stored.
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
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # defaults of Kingma and Ba (2015)
_BLOCK_ITEMS = 2**17  # half a MiB of floats
_MIN_ROWS = 1024  # per worker


class Workers:
    """A thread pool that splits work into one part per thread."""

    def __init__(self, pool: Executor, count: int) -> None:
        """Store a pool and its number of threads."""
        self._pool, self._count = pool, count

    def map(self, function: Callable[[slice], Result], n: int, *, min_rows: int) -> list[Result]:
        """Split ``n`` rows into parts and call a function with each part in parallel.

        Args:
            function: Function of a slice of rows.
            n: Number of rows.
            min_rows: Minimum number of rows per part.

        Returns:
            The result of each part, in order.
        """
        parts = _parts(n, min(self._count, max(1, n // min_rows)))
        if len(parts) == 1:
            return [function(parts[0])]
        return list(self._pool.map(function, parts))


@contextmanager
def start_workers() -> Iterator[Workers]:
    """Start as many threads as PyTorch uses; inside the block, PyTorch uses one in each thread."""
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

    Moments of other rows are not changed, as in PyTorch's ``SparseAdam``.
    """

    def __init__(self, table: Embeddings) -> None:
        """Store a table, [vocab, dim], which is updated in place."""
        self.table = table
        self._first = np.zeros_like(table)
        self._second = np.zeros_like(table)
        self._steps = 0

    def step(
        self, shares: csr_array, gradient: Embeddings, learning_rate: float, workers: Workers
    ) -> None:
        """Update the rows of all tokens that occur in a text.

        Args:
            shares: Share of each token in each text, [vocab, n_texts].
            gradient: Gradient by the vectors of the texts, [n_texts, dim].
            learning_rate: Learning rate of this step.
            workers: Threads, each of which updates different rows.
        """
        self._steps += 1
        tokens, shares = _without_empty_rows(shares)
        size = max(1, _BLOCK_ITEMS // self.table.shape[1])

        def update(part: slice) -> None:
            buffer = np.empty((3, size, self.table.shape[1]), dtype=np.float32)
            for start in range(part.start, part.stop, size):
                rows = slice(start, min(start + size, part.stop))
                block = shares[rows] @ gradient
                self._update(tokens[rows], block, learning_rate, buffer[:, : len(block)])

        workers.map(update, len(tokens), min_rows=_MIN_ROWS)

    def _update(
        self, tokens: Rows, gradient: Embeddings, learning_rate: float, buffer: Embeddings
    ) -> None:
        """Update rows; ``gradient`` and ``buffer``, [3, n_tokens, dim], are overwritten."""
        first, second, change = buffer
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
    # The default mode makes an additional copy, so that ``out`` does not change on an error.
    return np.take(table, rows, axis=0, out=out, mode="clip")


def _without_empty_rows(matrix: csr_array) -> tuple[Rows, csr_array]:
    """Return the numbers of the nonempty rows, ascending, and the matrix of these rows."""
    from scipy.sparse import csr_array

    rows = np.flatnonzero(np.diff(matrix.indptr))
    offsets = np.append(matrix.indptr[rows], matrix.indptr[-1:])
    shape = (len(rows), matrix.shape[1])
    return rows, csr_array((matrix.data, matrix.indices, offsets), shape=shape)
