"""Sizes and numbers of the batches of an epoch."""

from __future__ import annotations

import numpy as np

from nestvec.errors import InvalidArgument
from nestvec.types import Rows

_MIN_BATCH = 2


def check_batch_size(batch_size: int) -> None:
    """Check that a batch can contain negatives.

    Raises:
        InvalidArgument: If the batch size is less than 2.
    """
    if batch_size < _MIN_BATCH:
        problem = f"batch_size={batch_size} is less than {_MIN_BATCH}."
        raise InvalidArgument(f"{problem} The negatives of a pair are other pairs of its batch.")


def count_batches(n_rows: int, batch_size: int) -> int:
    """Count the batches of an epoch that uses each row once, at most ``batch_size`` rows each.

    >>> count_batches(2000, 64), count_batches(3, 64)
    (32, 1)
    """
    return -(-n_rows // batch_size)


def split_epoch(order: Rows, batch_size: int) -> list[Rows]:
    """Split the rows of an epoch into batches of nearly equal size, at most ``batch_size``.

    With equal sizes, no batch is too small to contain negatives.

    >>> [len(batch) for batch in split_epoch(np.arange(9), 4)]
    [3, 3, 3]
    """
    return np.array_split(order, count_batches(len(order), batch_size))


def tempered_sizes(sizes: list[int], temperature: float) -> list[int]:
    """Divide the sum of sizes in proportion to size ** (1 / temperature), at least 1 for each.

    >>> tempered_sizes([900, 90, 10], 1.0), tempered_sizes([900, 90, 10], 2.0)
    ([900, 90, 10], [706, 223, 74])
    """
    powers = [size ** (1 / temperature) for size in sizes]
    return [max(1, round(sum(sizes) * power / sum(powers))) for power in powers]
