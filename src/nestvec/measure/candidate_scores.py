"""Score the candidates of shortlists by one representation; each candidate is scored once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.flat.representations import Representations
from nestvec.types import CodeKey, Embeddings, Rows

MATRIX_BYTES = 512 * 2**20  # a larger matrix of all scores is not computed
_ROWS = 4_096  # documents decoded at a time
_DENSE = 2  # with more than one candidate for 2 documents, all documents of a block are scored


class CandidateScores:
    """The scores of candidates, stored for later shortlists.

    If the scores of all documents fit ``MATRIX_BYTES``, they are computed by matrix products. In a
    larger corpus, only blocks with many candidates are scored as a whole.
    """

    def __init__(self, key: CodeKey, queries: Embeddings, corpus: Representations) -> None:
        """Score nothing yet.

        Args:
            key: The representation.
            queries: As in ``exhaustive.rank``.
            corpus: As in ``exhaustive.rank``.
        """
        self._key, self._corpus, self._queries = key, corpus, queries
        self._matrix: Embeddings | None = None
        # Pairs of a query and a row, as the number query * n_rows + row, ascending.
        self._pairs = np.empty(0, dtype=np.int64)
        self._scores = np.empty(0, dtype=np.float32)

    def scores(self, candidates: Sequence[Rows], queries: Rows | None = None) -> list[Embeddings]:
        """Return the scores of shortlists.

        Args:
            candidates: Rows of each shortlist, [n, width].
            queries: Numbers of the queries, [n]; None for all queries.
        """
        numbers = np.arange(len(self._queries)) if queries is None else queries
        if 4 * len(self._queries) * len(self._corpus) <= MATRIX_BYTES:
            matrix = self._all_scores()
            return [matrix[numbers[:, None], rows] for rows in candidates]
        pairs = [numbers[:, None] * len(self._corpus) + rows for rows in candidates]
        self._add(np.unique(np.concatenate([each.ravel() for each in pairs])))
        return [self._scores[np.searchsorted(self._pairs, each)] for each in pairs]

    def _all_scores(self) -> Embeddings:
        if self._matrix is None:
            prepared = self._corpus.codec(self._key).prepare(self._queries)
            n = len(self._corpus)
            self._matrix = np.empty((len(prepared), n), dtype=np.float32)
            for start in range(0, n, _ROWS):
                block = slice(start, min(start + _ROWS, n))
                vectors = self._corpus.decoded(self._key, block)
                self._matrix[:, block] = prepared @ vectors.T
        return self._matrix

    def _add(self, pairs: NDArray[np.int64]) -> None:
        """Score the pairs that are new."""
        new = np.setdiff1d(pairs, self._pairs, assume_unique=True)
        if not len(new):
            return
        pairs = np.concatenate((self._pairs, new))
        ascending = np.argsort(pairs, kind="stable")
        self._pairs = pairs[ascending]
        self._scores = np.concatenate((self._scores, self._score(new)))[ascending]

    def _score(self, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score pairs in ascending order of row, so that the corpus is read in order."""
        prepared = self._corpus.codec(self._key).prepare(self._queries)
        scores = np.empty(len(pairs), dtype=np.float32)
        queries, rows = np.divmod(pairs, len(self._corpus))
        by_row = np.argsort(rows, kind="stable")
        starts = np.arange(0, len(self._corpus), _ROWS)
        ends = np.searchsorted(rows[by_row], starts + _ROWS)
        for start, first, end in zip(starts, [0, *ends[:-1]], ends, strict=True):
            chosen = by_row[first:end]
            own, numbers = rows[chosen], queries[chosen]
            if len(chosen) > _ROWS // _DENSE:  # one product is faster than decoding rows repeatedly
                block = slice(start, min(start + _ROWS, len(self._corpus)))
                product = prepared @ self._corpus.decoded(self._key, block).T
                scores[chosen] = product[numbers, own - start]
            elif len(chosen):
                vectors = self._corpus.decoded(self._key, own)
                scores[chosen] = np.einsum("nd,nd->n", vectors, prepared[numbers])
        return scores
