"""Stage 1: find the best codes of a whole corpus that is resident in memory, exactly.

FAISS proposes candidates, more than asked, which are scored again from their codes. Where it adds
up in rounded tables (``fast_scan``), or where scores tie, even more are fetched until no row that
is left out can belong to the best.
What does not change with the corpus's size, a graph or clusters over these codes, would stand here
too; this is the flat form.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.codec import Codec
from nestvec.index import fast_scan
from nestvec.index.scoring import score
from nestvec.ranking import best, order
from nestvec.types import Codes, Embeddings, Rows

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
        codes = np.ascontiguousarray(codes)
        self._rounded = fast_scan.fits(codec)
        if self._rounded:
            self._index = fast_scan.fast_scan_index(codec, codes)
            self._codes = fast_scan.packed_codes(self._index)
            self._centroids = fast_scan.centroids(codec)
        else:
            self._index = codec.new_faiss_index()
            self._index.add_sa_codes(codes)
            self._codes = _plain_codes(self._index)

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
        return score(queries, rows, self._vectors_of, empty=self._empty)

    def _vectors_of(self, rows: Rows) -> Embeddings:
        codes = fast_scan.unpack(self._codes, rows) if self._rounded else self._codes[rows]
        return self._codec.decode(codes)

    def _tolerance(self, queries: Embeddings) -> NDArray[np.float32] | float:
        """Bound by how much FAISS's score of a row may fall short of the exact one."""
        if not self._rounded:
            return _FLOAT_ERROR
        deviation = fast_scan.rounding_deviation(queries, self._centroids)
        return _FLOAT_ERROR + _ROUNDING_DEVIATIONS * deviation


def _plain_codes(index: Any) -> Codes:
    """Return a view of the codes in a FAISS index, [n, bytes_per_vector]."""
    import faiss

    memory: Codes = faiss.rev_swig_ptr(index.codes.data(), index.codes.size())
    return memory.reshape(index.ntotal, -1)
