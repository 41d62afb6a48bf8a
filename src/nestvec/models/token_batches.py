"""Form batches of texts of similar length, and encode several batches at the same time.

A batch has a limited number of tokens with its padding. The batches depend only on the lengths of
the texts. On a CPU each batch is encoded by one thread, so its vectors do not depend on the number
of processors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from nestvec.types import Embeddings, Rows

CPU_TOKENS, GPU_TOKENS = 2_048, 32_768
"""Most tokens of a batch with its padding. On a CPU, larger batches do not fit into its caches."""

EncodeRows = Callable[[Rows], Embeddings]


def token_batches(lengths: Sequence[int] | NDArray[np.int64], tokens: int) -> list[Rows]:
    """Split texts into batches, longest texts first.

    Args:
        lengths: Number of tokens of each text, [n].
        tokens: Most tokens of a batch, with the padding to its longest text. A longer text is a
            batch of its own.

    Returns:
        The rows of each batch; texts of equal length in their order.
    """
    as_array = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-as_array, kind="stable")
    batches, start = [], 0
    while start < len(order):
        longest = max(1, int(as_array[order[start]]))
        stop = start + max(1, tokens // longest)
        batches.append(order[start:stop])
        start = stop
    return batches


def encode_batches(
    encode: EncodeRows, batches: Sequence[Rows], *, on_cpu: bool
) -> Iterator[tuple[Rows, Embeddings]]:
    """Yield the rows and the vectors of each batch, in order.

    On a CPU with several processors, each of several threads encodes a batch alone: for texts of
    usual length this is faster than all threads on one batch. A single batch uses all threads.
    """
    import torch

    threads = torch.get_num_threads()
    if not on_cpu or threads == 1 or len(batches) == 1:
        yield from ((rows, encode(rows)) for rows in batches)
        return
    # A new thread takes its number of threads from the last call. Existing threads keep theirs.
    pool = ThreadPoolExecutor(
        min(threads, len(batches)), initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        yield from zip(batches, pool.map(encode, batches), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)  # after an interrupt, started batches end
        torch.set_num_threads(threads)
