"""Stage 1: search the codes of a whole corpus in memory, with exact results.

FAISS returns more candidates than requested. Their scores are computed again, exactly, from their
codes. FAISS's own scores may be rounded (``fast_scan``) or tied. More candidates are then fetched,
until no other row can be among the best.

Fast-scan cannot skip rows, so a filter removes candidates after the scan. If few rows are allowed,
only their codes are scored. The scan is exhaustive; there is no graph and no clustering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec
from nestvec.codec.quantizer import PRODUCT, QUANTIZERS
from nestvec.engines.flat import fast_scan
from nestvec.engines.flat.candidates import MARGIN
from nestvec.engines.flat.scoring import best_of, is_in, score
from nestvec.engines.flat.views import FLOAT_ERROR, CodeViews
from nestvec.metrics.ranking import Ranked, order
from nestvec.types import Codes, Embeddings, Precision, Rows

# The first request fetches this many times k candidates, which is usually enough. Precisions with
# coarser rounding need more.
OVERFETCH: Mapping[Precision, float] = {"int4": 2.0, "pq4": 4.0}
OVERFETCH_OTHERS, OVERFETCH_AT_LEAST = 1.25, 32
WIDEN = 4  # factor for the next request, if the candidates were not enough
# After the first request, at most 1/8 of the rows are fetched; if more are needed, all are scored.
_MAX_SHARE = 8
_CANDIDATES = 2**20  # candidates of all queries processed together: about 50 MB
_ROW_COST = 30  # to score the code of a single row costs as much as to scan this many rows
_FOUND_COST = 40  # to return a candidate of the scan, likewise
_MOST_FOUND = 4_096  # for longer results, FAISS's heaps are slower than NumPy
_ROUNDING_DEVIATIONS = 6  # one row in 10^9 deviates more


@dataclass(frozen=True, eq=False)
class Allowed:
    """The rows that a search may return, the same for all its queries.

    Attributes:
        mask: [n], True for rows that may be returned. It must not be changed afterwards.
    """

    mask: NDArray[np.bool_]

    @cached_property
    def count(self) -> int:
        """The number of allowed rows."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def rows(self) -> Rows:
        """The allowed rows, ascending."""
        return np.flatnonzero(self.mask)

    @cached_property
    def faiss_parameters(self) -> Any:
        """FAISS search parameters that restrict a search to the allowed rows."""
        import faiss

        bits = np.packbits(self.mask, bitorder="little")
        selector: Any = faiss.IDSelectorBitmap  # its type stub lists other arguments
        parameters: Any = faiss.SearchParameters
        return parameters(sel=selector(bits))


@dataclass(frozen=True, eq=False)
class _Rule:
    """How the best candidates are determined.

    Attributes:
        tolerance: A bound on the errors of their rounded scores.
        empty: Rows of zero vectors that can be among the best, ascending.
        ordered: Whether all scores must be exact and in order.
        vectors_of: A function that returns the vectors of rows, [n] -> [n, dim].
    """

    tolerance: NDArray[np.float32] | float
    empty: Rows
    ordered: bool
    vectors_of: Callable[[Rows], Embeddings]


class Scan:
    """An exhaustive search over the codes of a corpus at one dim and precision."""

    def __init__(self, codec: Codec, codes: Codes, *, empty: Rows) -> None:
        """Load the codes into a FAISS index in memory.

        Args:
            codec: The codec of the codes.
            codes: [n, bytes_per_vector].
            empty: Rows of zero vectors, ascending. Their score is 0, whatever their codes.
        """
        self._codec = codec
        self._empty = empty
        self._overfetch = OVERFETCH.get(codec.precision, OVERFETCH_OTHERS)
        codes = np.ascontiguousarray(codes)
        self._rounded = fast_scan.is_supported(codec)
        product = QUANTIZERS[codec.precision].faiss_name == PRODUCT
        self._can_select = not self._rounded and not product  # FAISS can skip rows in the scan
        self._views = CodeViews(codec)
        self._gathered: WeakKeyDictionary[Allowed, Codes] = WeakKeyDictionary()
        if self._rounded:
            self._index = fast_scan.fast_scan_index(codec, codes)
            self._codes = fast_scan.packed_codes(self._index)
            self._centroids = fast_scan.centroids(codec)
            self._plain = codes  # a mapped file, if the codes are stored in one
        else:
            self._index = codec.new_faiss_index()
            self._index.add_sa_codes(codes)
            self._codes = self._plain = _plain_codes(self._index)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._index.ntotal)

    def search(
        self, embeddings: Embeddings, k: int, *, allowed: Allowed | None = None
    ) -> tuple[Embeddings, Rows]:
        """Return the best ``k`` rows of each query, best first, equal scores by ascending row.

        Args:
            embeddings: [n_queries, full_dim], as the model returns them.
            k: Number of results; fewer are returned if fewer rows are searched.
            allowed: The rows to search; None for all. The result equals that of a scan over only
                these rows.

        Returns:
            Scores and rows, both [n_queries, min(k, rows searched)].
        """
        return self._find(embeddings, k, allowed, ordered=True)

    def shortlist(
        self, embeddings: Embeddings, k: int, *, allowed: Allowed | None = None
    ) -> tuple[Embeddings, Rows]:
        """Return the rows that ``search`` returns in any order, for a stage that scores them again.

        Only candidates near the last score are scored exactly, which is faster for a long
        shortlist. The scores are rounded.
        """
        return self._find(embeddings, k, allowed, ordered=False)

    def _find(
        self, embeddings: Embeddings, k: int, allowed: Allowed | None, *, ordered: bool
    ) -> tuple[Embeddings, Rows]:
        searched = len(self) if allowed is None else allowed.count
        k = min(k, searched)
        queries = np.ascontiguousarray(self._codec.prepare(embeddings))
        scores = np.zeros((len(queries), k), dtype=np.float32)
        rows = np.zeros((len(queries), k), dtype=np.int64)
        nonzero = queries.any(axis=1) & (k > 0)
        if not nonzero.all():  # a zero query scores 0 with every row
            rows[~nonzero] = self._searched_rows(allowed)[:k]
        remaining = np.flatnonzero(nonzero)
        width, limit = self._first_width(k, searched)
        while len(remaining) and width < limit:
            complete = np.empty(len(remaining), dtype=np.bool_)
            for part in _parts(len(remaining), width):
                lines = remaining[part]
                scores[lines], rows[lines], complete[part] = self._search_candidates(
                    queries[lines], k, width, allowed=allowed, ordered=ordered
                )
            remaining = remaining[~complete]
            width, limit = width * WIDEN, searched // _MAX_SHARE
        if len(remaining):
            scores[remaining], rows[remaining] = self._score_all(
                queries[remaining], k, allowed, ordered=ordered
            )
        return scores, rows

    def _first_width(self, k: int, searched: int) -> tuple[int, int]:
        """Return the first number of candidates, and the limit above which all rows are scored."""
        width = max(int(k * self._overfetch), k + OVERFETCH_AT_LEAST)
        if self._can_select:
            return width, searched
        # The share of allowed rows among candidates is expected to equal their share of all rows.
        width = width * len(self) // max(1, searched)
        if searched < len(self) and _ROW_COST * searched < len(self) + _FOUND_COST * width:
            return width, 0
        return width, len(self)

    def _searched_rows(self, allowed: Allowed | None) -> Rows:
        return np.arange(len(self)) if allowed is None else allowed.rows

    def _search_candidates(
        self, queries: Embeddings, k: int, width: int, *, allowed: Allowed | None, ordered: bool
    ) -> tuple[Embeddings, Rows, NDArray[np.bool_]]:
        """Return the best ``k`` of ``width`` candidates, and whether no other row can be better."""
        proposed, found, tolerance = self._propose(queries, width, allowed)
        # Fast-scan omits rows that it rounds to the lowest score, even if fewer than ``width`` rows
        # are found. A query without ``width`` candidates is therefore not complete.
        full, limit = found[:, -1] >= 0, proposed[:, -1] + tolerance
        empty = self._empty if allowed is None else self._empty[allowed.mask[self._empty]]
        proposed, found = _move_first(proposed, found, self._is_candidate(found, allowed))
        rule = _Rule(tolerance, empty, ordered, self._vectors_of)
        ranked = self._best_of(queries, Ranked(proposed, found), k, rule)
        return *ranked, full & (ranked.scores[:, k - 1] > limit)

    def _best_of(self, queries: Embeddings, proposed: Ranked, k: int, rule: _Rule) -> Ranked:
        """Return the best ``k`` of candidates with rounded scores, best first.

        Args:
            queries: [n_queries, dim], prepared by the codec.
            proposed: The candidates by their rounded scores, best first, without zero vectors.
            k: At most the number of candidates and zero vectors.
            rule: How they are determined. Unless ``ordered``, only the scores at the end, at least
                the last one, are exact.
        """
        # A candidate that is more than twice the tolerance below the k-th cannot be among the best,
        # and one that is as far above the k-th must be among them.
        near, sure = self._bounds(proposed.scores, k, rule.tolerance)
        found, empty = proposed.rows[:, :near], rule.empty
        if len(empty):
            # Zero vectors are added as candidates. The first k are enough, as all of them score 0.
            first = np.broadcast_to(empty[:k], (len(found), min(k, len(empty))))
            found = np.concatenate((found, first), axis=1)
        if rule.ordered or len(empty):
            sure = 0
        unsure = found[:, sure:]
        scores = score(queries, unsure, rule.vectors_of, empty=self._empty)
        exact = order(scores, unsure).top(k - sure)
        scores = np.concatenate((proposed.scores[:, :sure], exact.scores), axis=1)
        return Ranked(scores, np.concatenate((found[:, :sure], exact.rows), axis=1))

    @staticmethod
    def _bounds(
        proposed: Embeddings, k: int, tolerance: NDArray[np.float32] | float
    ) -> tuple[int, int]:
        """Return how many candidates can be among the best, and how many of them must be."""
        last, two = proposed[:, k - 1], 2 * np.asarray(tolerance)
        near = (proposed >= (last - two)[:, None]).sum(axis=1).max()
        sure = (proposed > (last + two)[:, None]).sum(axis=1).min()
        return max(k, int(near)), min(k - 1, int(sure))

    def _propose(
        self, queries: Embeddings, width: int, allowed: Allowed | None
    ) -> tuple[Embeddings, Rows, NDArray[np.float32] | float]:
        """Return FAISS's scores and rows, and a bound on the errors of the scores."""
        params = allowed.faiss_parameters if allowed is not None and self._can_select else None
        center = self._codec.center
        if center is None:
            scores, rows = self._index.search(queries, width, params=params)
            return scores, rows, self._tolerance(queries)
        queries, offsets = center.split_queries(queries)
        scores, rows = self._index.search(queries, width, params=params)
        return scores + offsets[:, None], rows, self._tolerance(queries)

    def _is_candidate(self, found: Rows, allowed: Allowed | None) -> NDArray[np.bool_]:
        """Return which rows found by FAISS exist, are not zero vectors and are allowed."""
        valid: NDArray[np.bool_] = found >= 0
        if len(self._empty):
            valid &= ~is_in(self._empty, found)
        if allowed is not None and not self._can_select:
            valid &= allowed.mask[found]
        return valid

    def _score_all(
        self, queries: Embeddings, k: int, allowed: Allowed | None, *, ordered: bool
    ) -> Ranked:
        searched = self._searched_rows(allowed)
        zeros = is_in(self._empty, searched) if len(self._empty) else np.zeros(len(searched), bool)
        empty, rows = searched[zeros], searched[~zeros]
        width = min(k + MARGIN, len(rows))
        if not k <= width <= _MOST_FOUND:
            return self._score_slowly(queries, k, searched)
        codes = self._codes_of(rows, allowed)
        proposed, lines = self._views.search(codes, queries, width)

        def vectors_of(found: Rows) -> Embeddings:  # the packed codes of a row are far apart
            places = np.minimum(np.searchsorted(rows, found), len(rows) - 1)
            return self._codec.decode(codes[places])

        rule = _Rule(FLOAT_ERROR, empty, ordered, vectors_of)
        ranked = self._best_of(queries, Ranked(proposed, rows[lines]), k, rule)
        unclear = np.flatnonzero(ranked.scores[:, -1] <= proposed[:, -1] + FLOAT_ERROR)
        if len(unclear) and width < len(rows):
            slow = self._score_slowly(queries[unclear], k, searched)
            ranked.scores[unclear], ranked.rows[unclear] = slow
        return ranked

    def _codes_of(self, rows: Rows, allowed: Allowed | None) -> Codes:
        """Return the codes of the allowed rows that are not zero vectors.

        They are kept as long as ``allowed`` exists, because scattered reads from memory cost more
        than the scores.
        """
        if allowed is None:
            return self._plain if len(rows) == len(self) else self._plain[rows]
        codes = self._gathered.get(allowed)
        if codes is None:
            codes = self._gathered[allowed] = self._plain[rows]
        return codes

    def _score_slowly(self, queries: Embeddings, k: int, searched: Rows) -> Ranked:
        found = best_of(queries, searched, k, self._vectors_of, empty=self._empty)
        return Ranked(found.scores, searched[found.rows])

    def _vectors_of(self, rows: Rows) -> Embeddings:
        codes = fast_scan.unpack(self._codes, rows) if self._rounded else self._codes[rows]
        return self._codec.decode(codes)

    def _tolerance(self, queries: Embeddings) -> NDArray[np.float32] | float:
        """Return a bound on the difference between FAISS's score of a row and the exact score."""
        if not self._rounded:
            return FLOAT_ERROR
        deviation = fast_scan.rounding_deviation(queries, self._centroids)
        return FLOAT_ERROR + _ROUNDING_DEVIATIONS * deviation


def _parts(n_queries: int, width: int) -> Iterator[slice]:
    """Split queries into parts with at most ``_CANDIDATES`` candidates each."""
    step = max(1, _CANDIDATES // width)
    return (slice(start, start + step) for start in range(0, n_queries, step))


def _move_first(
    scores: Embeddings, rows: Rows, valid: NDArray[np.bool_]
) -> tuple[Embeddings, Rows]:
    """Move valid candidates to the front of each line; the rest becomes row -1, score -inf."""
    if valid.all():
        return scores, rows
    sequence = np.argsort(~valid, axis=1, kind="stable")
    lines = np.arange(len(valid))[:, None]
    scores, rows = np.where(valid, scores, -np.inf), np.where(valid, rows, -1)
    return scores[lines, sequence], rows[lines, sequence]


def _plain_codes(index: Any) -> Codes:
    """Return a view of the codes in a FAISS index, [n, bytes_per_vector]."""
    import faiss

    memory: Codes = faiss.rev_swig_ptr(index.codes.data(), index.codes.size())
    return memory.reshape(index.ntotal, index.code_size)
