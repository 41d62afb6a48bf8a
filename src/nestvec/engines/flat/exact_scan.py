"""Find the nearest vectors by inner product where they are stored, such as in a mapped file.

FAISS reads the vectors through a view of their memory: nothing is copied, and float16 is converted
in the processor's registers. Many queries share a matrix product instead, in blocks of vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.flat.scan import Allowed
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
    scores, rows = _index_of(vectors).search(queries, k, params=parameters)
    return Ranked(scores, rows)


def _index_of(vectors: NDArray[np.floating]) -> Any:
    """Return a FAISS index that reads the memory of an array, which must exist longer."""
    import faiss

    dim, metric = vectors.shape[1], faiss.METRIC_INNER_PRODUCT
    index: Any
    if vectors.dtype == np.float32:
        index = faiss.IndexFlatIP(dim)
    else:
        index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, metric)
        index.is_trained = True  # nothing is fitted
    memory = vectors.reshape(-1).view(np.uint8)
    views: Any = faiss.MaybeOwnedVectorUInt8  # its type stub lacks the function
    owner = index.codes.owner  # no owner: FAISS never frees the memory
    index.codes = views.create_view(faiss.swig_ptr(memory), memory.size, owner)
    index.ntotal = len(vectors)
    return index


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
