"""Score the candidates of shortlists by one representation; each candidate is scored once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.flat.representations import Representations
from nestvec.types import CodeKey, Embeddings, Rows

MATRIX_BYTES = 512 * 2**20  # a larger matrix of all scores is not computed
_ROWS = 4_096  # documents or candidates scored at a time
_PRODUCT = 128  # a product scores this many pairs in the time of one separate pair


class CandidateScores:
    """The scores of candidates, stored for later shortlists.

    If the scores of all documents fit ``MATRIX_BYTES``, they are computed by matrix products. In a
    larger corpus, only documents that are candidates of any query are scored.
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
        distinct, firsts = np.unique(rows[by_row], return_index=True)
        for start in range(0, len(distinct), _ROWS):
            own = distinct[start : start + _ROWS]
            end = firsts[start + _ROWS] if start + _ROWS < len(distinct) else len(pairs)
            chosen = by_row[firsts[start] : end]
            vectors = self._corpus.decoded(self._key, own)
            places, numbers = np.searchsorted(own, rows[chosen]), queries[chosen]
            if _PRODUCT * len(chosen) > len(prepared) * len(own):
                scores[chosen] = (prepared @ vectors.T)[numbers, places]
                continue
            for at in range(0, len(chosen), _ROWS):
                some = slice(at, at + _ROWS)
                one, other = vectors[places[some]], prepared[numbers[some]]
                scores[chosen[some]] = np.einsum("nd,nd->n", one, other)
        return scores
