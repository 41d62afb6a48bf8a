"""Stage 1: find the best codes of a whole corpus that is resident in memory, exactly.

Codes of 1, 2 and 4 bits are scanned by FAISS's SIMD fast-scan: four bits of such a code are one
code of a product quantiser whose 16 centroids are fixed, so the same bytes can be searched some
20 to 50 times faster than by the scalar quantiser's own scan. Fast-scan rounds its look-up tables
to 8 bits. More candidates than asked are therefore scored again from the codes, and more still,
until no row that is left out can belong to the best.
What does not change with the corpus's size, a graph or clusters over these codes, would stand here
too; this is the flat form.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.codec import QUANTISERS, Codec
from nestvec.index.scoring import score
from nestvec.ranking import best, order
from nestvec.types import Codes, Embeddings, Rows

FAST_SCAN_BITS = 4  # of one product code
# How many candidates FAISS is asked for at first: mostly enough.
OVERFETCH = 1.25
OVERFETCH_AT_LEAST = 32
WIDEN = 4  # and how many times more wherever that was not enough
_FLOAT_ERROR = 1e-5  # FAISS adds up in another order than we do
_ROUNDING_DEVIATIONS = 6  # one row in 10^9 is off by more


class Scan:
    """The codes of a corpus at one representation, searched exhaustively."""

    def __init__(self, codec: Codec, codes: Codes, *, empty: Rows) -> None:
        """Take the codes into memory.

        Args:
            codec: What the codes were made with.
            codes: [n, bytes_per_vector].
            empty: Rows of zero vectors, ascending; they score 0 whatever their codes say.
        """
        self._codec = codec
        self._empty = empty
        self._rounded = _fits_fast_scan(codec)
        self._extent = np.ptp(_codebook(codec)) if self._rounded else np.float32(0)
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
        # What stands is the answer to zero queries, which score 0 with every row.
        scores = np.zeros((len(queries), k), dtype=np.float32)
        rows = np.tile(np.arange(k), (len(queries), 1))
        left = np.flatnonzero(queries.any(axis=1))
        width = max(int(k * OVERFETCH), k + OVERFETCH_AT_LEAST)
        while len(left) and width < len(self):
            scores[left], rows[left], sure = self._try(queries[left], k, width)
            left = left[~sure]
            width *= WIDEN
        for line in left:
            scores[line], rows[line] = self._search_all(queries[line], k)
        return scores, rows

    def _try(
        self, queries: Embeddings, k: int, width: int
    ) -> tuple[Embeddings, Rows, NDArray[np.bool_]]:
        """Return the best ``k`` of ``width`` candidates, and whether no other row can be better."""
        found_scores, found = self._index.search(queries, width)
        if len(self._empty):
            # They stand as candidates of their own, the first k of them: all score 0.
            found[np.isin(found, self._empty)] = -1
            first = np.broadcast_to(self._empty[:k], (len(found), min(k, len(self._empty))))
            found = np.concatenate((found, first), axis=1)
        scores, rows = order(self._score(queries, found), found)
        limit = found_scores[:, -1] + self._tolerance(queries)
        return scores[:, :k], rows[:, :k], scores[:, k - 1] > limit

    def _search_all(self, query: Embeddings, k: int) -> tuple[Embeddings, Rows]:
        every = np.arange(len(self))[None]
        scores, rows = best(self._score(query[None], every), k)
        return scores[0], rows[0]

    def _score(self, queries: Embeddings, rows: Rows) -> Embeddings:
        return score(queries, rows, self._index.reconstruct_batch, empty=self._empty)

    def _tolerance(self, queries: Embeddings) -> NDArray[np.float32]:
        """Bound what FAISS's score of a row may fall short of the exact one, [n_queries].

        Fast-scan adds up one table entry for each product code, each rounded to a multiple of
        ``step``: n_codes errors, uniform within half a step. Steps are as small as the widest
        table fits 8 bits and their sum 16 (FAISS's quantize_lut.cpp).
        """
        if not self._rounded:
            return np.full(len(queries), _FLOAT_ERROR, dtype=np.float32)
        n_codes = self._index.pq.M
        spans = np.abs(queries).reshape(len(queries), n_codes, -1).sum(axis=2) * self._extent
        step = np.maximum(spans.max(axis=1) / 255, spans.sum(axis=1) / 65535)
        deviation = step * np.sqrt(n_codes / 12)
        tolerance: NDArray[np.float32] = _ROUNDING_DEVIATIONS * deviation + _FLOAT_ERROR
        return tolerance


def _fits_fast_scan(codec: Codec) -> bool:
    bits = QUANTISERS[codec.precision].bits
    return bits <= FAST_SCAN_BITS and codec.dim * bits % 8 == 0


def _product_index(codec: Codec) -> Any:
    """Make a product quantiser whose codes are, bit for bit, those of the scalar codebook."""
    import faiss

    dims_each = FAST_SCAN_BITS // QUANTISERS[codec.precision].bits
    n_codes = codec.dim // dims_each
    index = faiss.IndexPQ(codec.dim, n_codes, FAST_SCAN_BITS, faiss.METRIC_INNER_PRODUCT)
    # The vectors that the 16 codes stand for, [16, dims_each]; low bits are first dims.
    centroids = [c[::-1] for c in product(_codebook(codec), repeat=dims_each)]
    tables = np.tile(np.array(centroids, dtype=np.float32), (n_codes, 1))
    faiss.copy_array_to_vector(tables.ravel(), index.pq.centroids)
    index.is_trained = True
    return index


def _fast_scan(index: Any) -> Any:
    """Lay the codes of a product index out for SIMD."""
    import faiss

    return faiss.IndexPQFastScan(index)


def _codebook(codec: Codec) -> NDArray[np.float32]:
    """List the values that the codes of a single dimension stand for, [2 ** bits]."""
    every_code = np.arange(2 ** QUANTISERS[codec.precision].bits, dtype=np.uint8)[:, None]
    # A byte's low bits are the first dimension's.
    return codec.decode(np.repeat(every_code, codec.bytes_per_vector, axis=1))[:, 0]
