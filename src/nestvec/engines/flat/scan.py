"""Stage 1: find the best codes of a whole corpus that is resident in memory, exactly.

FAISS proposes candidates, more than asked, which are scored again from their codes. Where it adds
up in rounded tables (``fast_scan``), or where scores tie, even more are fetched until no row that
is left out can belong to the best. Where only some rows are allowed, candidates that are not are
dropped, as fast-scan cannot leave rows out; few allowed rows are all scored, without asking FAISS.
What does not change with the corpus's size, a graph or clusters over these codes, would stand here
too; this is the flat form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec
from nestvec.codec.quantizer import PRODUCT, QUANTIZERS
from nestvec.engines.flat import fast_scan
from nestvec.engines.flat.scoring import among, best_of, score
from nestvec.metrics.ranking import Ranked, order
from nestvec.types import Codes, Embeddings, Precision, Rows

# How many candidates FAISS is asked for at first: mostly enough. The more is rounded, the more.
OVERFETCH: Mapping[Precision, float] = {"int4": 2.0, "pq4": 4.0}
OVERFETCH_OTHERS, OVERFETCH_AT_LEAST = 1.25, 32
WIDEN = 4  # and how many times more wherever that was not enough
_IN_VAIN = 8  # but not for more than this part of all rows: these may all be worse than others
_CANDIDATES = 2**20  # of all queries that are looked at together: some 50 MB
_FLOAT_ERROR = 1e-5  # FAISS adds up in another order than we do
_ROUNDING_DEVIATIONS = 6  # one row in 10^9 is off by more


@dataclass(frozen=True, eq=False)
class Allowed:
    """Some rows of a corpus, the same for all queries of a search.

    Attributes:
        mask: [n], True where a row may be returned; not to be changed afterwards.
    """

    mask: NDArray[np.bool_]

    @cached_property
    def count(self) -> int:
        """How many rows are allowed."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def rows(self) -> Rows:
        """The allowed rows, ascending."""
        return np.flatnonzero(self.mask)

    @cached_property
    def faiss_parameters(self) -> Any:
        """What makes a FAISS index search these rows only, if it can."""
        import faiss

        bits = np.packbits(self.mask, bitorder="little")
        selector: Any = faiss.IDSelectorBitmap  # takes other arguments than its stub says
        parameters: Any = faiss.SearchParameters
        return parameters(sel=selector(bits))


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
        self._overfetch = OVERFETCH.get(codec.precision, OVERFETCH_OTHERS)
        codes = np.ascontiguousarray(codes)
        self._rounded = fast_scan.fits(codec)
        product = QUANTIZERS[codec.precision].faiss_name == PRODUCT
        self._selects = not self._rounded and not product  # of FAISS's scans, those that can
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

    def search(
        self, embeddings: Embeddings, k: int, *, allowed: Allowed | None = None
    ) -> tuple[Embeddings, Rows]:
        """Return the best ``k`` rows of each query, best first, ties by ascending row.

        Args:
            embeddings: [n_queries, full_dim], as the model gives them.
            k: How many; cut to the number of rows, or of those that are allowed.
            allowed: Which rows to search, of all; the answer is that of a scan of these alone.

        Returns:
            Scores and rows, both [n_queries, min(k, rows searched)].
        """
        searched = len(self) if allowed is None else allowed.count
        k = min(k, searched)
        queries = np.ascontiguousarray(self._codec.prepare(embeddings))
        scores = np.zeros((len(queries), k), dtype=np.float32)
        rows = np.zeros((len(queries), k), dtype=np.int64)
        some = queries.any(axis=1) & (k > 0)
        if not some.all():  # a zero query scores 0 with every row
            rows[~some] = self._every(allowed)[:k]
        left = np.flatnonzero(some)
        width, limit = self._first_width(k, searched)
        while len(left) and width < limit:
            sure = np.empty(len(left), dtype=np.bool_)
            for part in _parts(len(left), width):
                lines = left[part]
                scores[lines], rows[lines], sure[part] = self._try(
                    queries[lines], k, width, allowed=allowed
                )
            left = left[~sure]
            width, limit = width * WIDEN, searched // _IN_VAIN
        if len(left):
            scores[left], rows[left] = self._search_every(queries[left], k, allowed)
        return scores, rows

    def _first_width(self, k: int, searched: int) -> tuple[int, int]:
        """Return how many candidates to ask for, and for how many to score every row instead."""
        width = max(int(k * self._overfetch), k + OVERFETCH_AT_LEAST)
        if self._selects:
            return width, searched
        # As many of them are allowed as of all rows, if these are no worse than others; dropping
        # one costs less than half of what scoring one does.
        return width * len(self) // max(1, searched), min(2 * searched, len(self))

    def _every(self, allowed: Allowed | None) -> Rows:
        return np.arange(len(self)) if allowed is None else allowed.rows

    def _try(
        self, queries: Embeddings, k: int, width: int, *, allowed: Allowed | None
    ) -> tuple[Embeddings, Rows, NDArray[np.bool_]]:
        """Return the best ``k`` of ``width`` candidates, and whether no other row can be better."""
        params = allowed.faiss_parameters if allowed is not None and self._selects else None
        proposed, found = self._index.search(queries, width, params=params)
        tolerance = self._tolerance(queries)
        # Fast-scan leaves out what it rounds to the lowest score, however much room there is.
        full, limit = found[:, -1] >= 0, proposed[:, -1] + tolerance
        empty = self._empty if allowed is None else self._empty[allowed.mask[self._empty]]
        proposed, found = _leave(proposed, found, self._may_stay(found, allowed))
        # What is proposed further below the k-th best proposal cannot be among the best.
        near = proposed >= (proposed[:, k - 1] - 2 * tolerance)[:, None]
        found = found[:, : max(k, int(near.sum(axis=1).max()))]
        if len(empty):
            # They stand as candidates of their own, the first k of them: all score 0.
            first = np.broadcast_to(empty[:k], (len(found), min(k, len(empty))))
            found = np.concatenate((found, first), axis=1)
        scores, rows = order(self._score(queries, found), found)
        return scores[:, :k], rows[:, :k], full & (scores[:, k - 1] > limit)

    def _may_stay(self, found: Rows, allowed: Allowed | None) -> NDArray[np.bool_]:
        """Tell which proposals are rows that score what their codes say, and are allowed."""
        stays: NDArray[np.bool_] = found >= 0
        if len(self._empty):
            stays &= ~among(self._empty, found)
        if allowed is not None and not self._selects:
            stays &= allowed.mask[found]
        return stays

    def _search_every(self, queries: Embeddings, k: int, allowed: Allowed | None) -> Ranked:
        every = self._every(allowed)
        found = best_of(queries, every, k, self._vectors_of, empty=self._empty)
        return Ranked(found.scores, every[found.rows])

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


def _parts(n_queries: int, width: int) -> Iterator[slice]:
    """Cut queries into parts that have a bounded number of candidates together."""
    step = max(1, _CANDIDATES // width)
    return (slice(start, start + step) for start in range(0, n_queries, step))


def _leave(scores: Embeddings, rows: Rows, stays: NDArray[np.bool_]) -> tuple[Embeddings, Rows]:
    """Leave some of each line and put what stands for nothing, minus infinity and -1, behind."""
    if stays.all():
        return scores, rows
    sequence = np.argsort(~stays, axis=1, kind="stable")
    lines = np.arange(len(stays))[:, None]
    scores, rows = np.where(stays, scores, -np.inf), np.where(stays, rows, -1)
    return scores[lines, sequence], rows[lines, sequence]


def _plain_codes(index: Any) -> Codes:
    """Return a view of the codes in a FAISS index, [n, bytes_per_vector]."""
    import faiss

    memory: Codes = faiss.rev_swig_ptr(index.codes.data(), index.codes.size())
    return memory.reshape(index.ntotal, index.code_size)
