"""What it takes to encode one text."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from nestvec.types import Embeddings

TIMED = 32  # texts


def encode_each(
    n_texts: int, encode: Callable[[slice], Embeddings]
) -> tuple[Sequence[Embeddings], float]:
    """Encode texts one by one; return what comes of each, and the median milliseconds.

    Args:
        n_texts: How many, at least one.
        encode: Encodes the texts at some positions.
    """
    encoded, times = [], []
    for number in range(n_texts):
        start = time.perf_counter()
        encoded.append(encode(slice(number, number + 1)))
        times.append((time.perf_counter() - start) * 1000)
    return encoded, float(np.median(times))
