"""Find the nearest vectors by inner product where they are stored, such as in a mapped file.

FAISS reads the vectors through a view: nothing is copied, and float16 is converted in the
processor's registers. Many queries share a matrix product instead, in blocks of vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.flat.scan import Allowed
from nestvec.engines.flat.views import vector_view
from nestvec.metrics.ranking import Ranked, TopRows
from nestvec.types import Embeddings

_MANY_QUERIES = 128  # from here on, a matrix product costs less than a scan for each query
_BLOCK = 8_192  # vectors of a matrix product


def nearest(
    vectors: NDArray[np.floating], queries: Embeddings, k: int, allowed: Allowed | None = None
) -> Ranked:
    """Return the ``k`` vectors with the highest inner products, up to the rounding of float32.

    Args:
        vectors: float16 or float32 [n, dim], C-contiguous; may be memory-mapped.
        queries: [n_queries, dim].
        k: At most the number of allowed vectors.
        allowed: The rows to search; None for all.
    """
    if len(queries) >= _MANY_QUERIES:
        return _multiply(vectors, queries, k, allowed)
    parameters = None if allowed is None else allowed.faiss_parameters
    scores, rows = vector_view(vectors).search(queries, k, params=parameters)
    return Ranked(scores, rows)


def _multiply(
    vectors: NDArray[np.floating], queries: Embeddings, k: int, allowed: Allowed | None
) -> Ranked:
    top = TopRows(len(queries), k)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        rows = np.arange(start, start + len(block))
        if allowed is not None:
            mask = allowed.mask[start : start + _BLOCK]
            block, rows = block[mask], rows[mask]
        if len(rows):
            values = block.astype(np.float32, copy=False)
            top.add(np.ascontiguousarray(queries @ values.T), rows)
    return top.ranked()
