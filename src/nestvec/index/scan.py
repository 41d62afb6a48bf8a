"""Stage 1: find the best codes of a whole corpus that is resident in memory, exactly.

Codes of 1, 2 and 4 bits are scanned by FAISS's SIMD fast-scan: four bits of such a code are one
code of a product quantiser whose 16 centroids are fixed, so the same bytes can be searched some
20 to 50 times faster than by the scalar quantiser's own scan. Fast-scan rounds its look-up tables
to 8 bits; a few more candidates than asked are therefore scored again exactly, from the codes.
What does not change with the corpus's size, a graph or clusters over these codes, would stand here
too; this is the flat form.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.codec import QUANTISERS, Codec
from nestvec.ranking import order
from nestvec.types import Codes, Embeddings, Rows

FAST_SCAN_BITS = 4  # of one product code
OVERFETCH = 1.25  # finds all of the exact top 100 where 1.2 did; see benchmarks/scan.py
OVERFETCH_AT_LEAST = 32


class Scan:
    """The codes of a corpus at one representation, searched exhaustively."""

    def __init__(self, codec: Codec, codes: Codes, *, empty: Rows) -> None:
        """Take the codes into memory.

        Args:
            codec: What the codes were made with.
            codes: [n, bytes_per_vector].
            empty: Rows of zero vectors, which score 0 whatever their codes say.
        """
        self._codec = codec
        self._empty = empty
        self._rounded = _fits_fast_scan(codec)
        self._index = _product_index(codec) if self._rounded else codec.new_faiss_index()
        self._index.add_sa_codes(np.ascontiguousarray(codes))
        if self._rounded:
            self._index = _fast_scan(self._index)

    def __len__(self) -> int:
        """Count the rows."""
        return int(self._index.ntotal)

    def search(self, embeddings: Embeddings, k: int) -> tuple[Embeddings, Rows]:
        """Return the best ``k`` rows of each query, best first, ties by ascending row.

        Args:
            embeddings: [n_queries, full_dim], as the model gives them.
            k: How many; cut to the number of rows.

        Returns:
            Scores and rows, both [n_queries, min(k, n)].
        """
        k = min(k, len(self))
        queries = np.ascontiguousarray(self._codec.prepare(embeddings))
        width = min(max(int(k * OVERFETCH), k + OVERFETCH_AT_LEAST) + len(self._empty), len(self))
        scores, rows = self._index.search(queries, width)
        if self._rounded:
            scores = self._exact_scores(queries, rows)
        if len(self._empty):
            scores[np.isin(rows, self._empty)] = 0
        scores, rows = order(scores, rows)
        return scores[:, :k], rows[:, :k]

    def _exact_scores(self, queries: Embeddings, rows: Rows) -> Embeddings:
        vectors = self._index.reconstruct_batch(rows.ravel()).reshape(*rows.shape, -1)
        scores: Embeddings = np.matmul(vectors, queries[:, :, None])[:, :, 0]
        return scores


def _fits_fast_scan(codec: Codec) -> bool:
    bits = QUANTISERS[codec.precision].bits
    return bits <= FAST_SCAN_BITS and codec.dim * bits % 8 == 0


def _product_index(codec: Codec) -> Any:
    """Make a product quantiser whose codes are, bit for bit, those of the scalar codebook."""
    import faiss

    bits = QUANTISERS[codec.precision].bits
    dims_each = FAST_SCAN_BITS // bits
    n_codes = codec.dim // dims_each
    index = faiss.IndexPQ(codec.dim, n_codes, FAST_SCAN_BITS, faiss.METRIC_INNER_PRODUCT)
    centroids = _centroids(codec, bits, dims_each)
    faiss.copy_array_to_vector(np.tile(centroids, (n_codes, 1)).ravel(), index.pq.centroids)
    index.is_trained = True
    return index


def _fast_scan(index: Any) -> Any:
    """Lay the codes of a product index out for SIMD."""
    import faiss

    return faiss.IndexPQFastScan(index)


def _centroids(codec: Codec, bits: int, dims_each: int) -> NDArray[np.float32]:
    """List the vectors that the 16 codes stand for, [16, dims_each]; low bits are first dims."""
    every_byte = np.arange(2**bits, dtype=np.uint8)[:, None]
    codebook = codec.decode(np.repeat(every_byte, codec.bytes_per_vector, axis=1))[:, 0]
    return np.array([tuple(reversed(c)) for c in product(codebook, repeat=dims_each)], np.float32)
