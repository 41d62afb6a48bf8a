"""Rank documents; a document with several chunks (rows) gets the rank of its best chunk.

Shortlists contain chunks, as in the deployed index. The last stage ranks enough chunks to contain
the requested number of documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from nestvec.engines.flat.representations import Representations
from nestvec.measure.exhaustive import ExhaustiveSearch
from nestvec.measure.first_stage import RANKED_BYTES
from nestvec.metrics.ranking import Ranked
from nestvec.types import Embeddings, OperatingPoint, Rows

LIST_BYTES = 2**30  # maximum size of ranked lists; more queries are processed in blocks


class DocumentRows(NamedTuple):
    """Which rows of the corpus form a document, and which row each query ignores.

    Attributes:
        doc_of_row: Number of the document of each row, [n_rows].
        own_row: Row that contains the query itself and is left out of its ranking, [n_queries]; -1
            if there is none.
        parts: Rows of disjoint parts of the corpus that can be searched separately, each ascending;
            None for one part with all rows.
    """

    doc_of_row: Rows
    own_row: Rows
    parts: Sequence[Rows] | None = None

    def needed(self, depth: int) -> int:
        """Return the number of rows to rank so that ``depth`` documents remain."""
        extra = int((self.own_row >= 0).any())
        return min(rows_needed(self.doc_of_row, depth) + extra, len(self.doc_of_row))

    def of_queries(self, queries: Rows) -> DocumentRows:
        """Return the values of some queries."""
        return DocumentRows(self.doc_of_row, self.own_row[queries])

    def part(self, rows: Rows, queries: Rows) -> DocumentRows:
        """Return the values of some queries for a subset of the corpus (``Representations.part``).

        The numbers of the documents do not change.

        Args:
            rows: The rows of the subset, ascending; at least one.
            queries: Numbers of the queries.
        """
        own = self.own_row[queries]
        place = np.minimum(np.searchsorted(rows, own), len(rows) - 1)
        return DocumentRows(self.doc_of_row[rows], np.where(rows[place] == own, place, -1))


class DocumentSearch:
    """Ranks documents at operating points, in the whole corpus or in parts of the corpus."""

    def __init__(
        self,
        points: Sequence[OperatingPoint],
        queries: Embeddings,
        corpus: Representations,
        documents: DocumentRows,
        *,
        depth: int,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare a search. Rankings of the first stages are stored if they fit ``LIST_BYTES``.

        Args:
            points: As in ``exhaustive.rank``.
            queries: As in ``exhaustive.rank``.
            corpus: As in ``exhaustive.rank``.
            documents: The documents that the rows form, the row that each query ignores, and the
                parts of the corpus.
            depth: Number of documents to return.
            on_step: As in ``exhaustive.rank``.
        """
        self._queries, self._corpus, self._documents = queries, corpus, documents
        self._depth, self._width = depth, documents.needed(depth)
        rows = documents.doc_of_row
        self._is_chunked = not np.array_equal(rows, np.arange(len(rows)))
        self._parts = documents.parts or [np.arange(len(corpus))]
        self._on_step = on_step
        self._block = self._queries_at_once(points)
        self._search: ExhaustiveSearch | None = None
        if len(queries) <= self._block:
            self._search = self._new_search(points, queries, range(len(self._parts)))

    def rank(
        self,
        points: Sequence[OperatingPoint],
        *,
        parts: Sequence[int] | None = None,
        queries: Rows | None = None,
    ) -> dict[OperatingPoint, Ranked]:
        """Return the best documents of each query at each point.

        Args:
            points: As in ``ExhaustiveSearch.rank``.
            parts: As in ``ExhaustiveSearch.rank``.
            queries: As in ``ExhaustiveSearch.rank``.

        Returns:
            Scores and documents for each point, [n_queries, at most depth], best first; ties
            between chunks are in ascending row. If a shortlist contains fewer documents, the last
            ones are -1 with a score of -inf.
        """
        numbers = np.arange(len(self._queries)) if queries is None else queries
        chosen = range(len(self._parts)) if parts is None else parts
        blocks = []
        for start in range(0, max(1, len(numbers)), self._block):
            own = numbers[start : start + self._block]
            if self._search is not None:
                found = self._search.rank(points, parts=chosen, queries=own)
            else:
                found = self._new_search(points, self._queries[own], chosen).rank(points)
            blocks.append({point: self._documents_in(each, own) for point, each in found.items()})
        return {
            point: Ranked(*map(np.concatenate, zip(*(each[point] for each in blocks), strict=True)))
            for point in points
        }

    def _new_search(
        self, points: Sequence[OperatingPoint], queries: Embeddings, parts: Sequence[int]
    ) -> ExhaustiveSearch:
        step, self._on_step = self._on_step, _no_step  # only the first search counts steps
        return ExhaustiveSearch(
            points,
            queries,
            self._corpus,
            depth=self._width,
            parts=[self._parts[number] for number in parts],
            on_step=step,
        )

    def _documents_in(self, ranked: Ranked, queries: Rows) -> Ranked:
        documents = self._documents.of_queries(queries)
        if self._is_chunked:
            return collapse(ranked, documents, self._depth)
        return _leave_out(ranked, documents.own_row).top(self._depth)

    def _queries_at_once(self, points: Sequence[OperatingPoint]) -> int:
        """Return the number of queries whose lists fit ``LIST_BYTES``."""
        first = {point.stages[0].representation: 0 for point in points}
        for stage in (point.stages[0] for point in points):
            first[stage.representation] = max(
                first[stage.representation], stage.keep or self._width
            )
        lists = RANKED_BYTES * sum(first.values()) * len(self._parts)
        return max(1, LIST_BYTES // (lists + 12 * self._width * len(points)))


def rank_documents(
    points: Sequence[OperatingPoint],
    queries: Embeddings,
    corpus: Representations,
    documents: DocumentRows,
    *,
    depth: int,
) -> dict[OperatingPoint, Ranked]:
    """Return the best documents of each query in the whole corpus, as ``DocumentSearch`` does."""
    return DocumentSearch(points, queries, corpus, documents, depth=depth).rank(points)


def rows_needed(doc_of_row: Rows, depth: int) -> int:
    """Return the number of rows that contain at least ``depth`` documents in any ranking."""
    sizes = np.sort(np.bincount(doc_of_row))[::-1]
    return min(int(sizes[: depth - 1].sum()) + 1, len(doc_of_row))


def collapse(ranked: Ranked, documents: DocumentRows, depth: int) -> Ranked:
    """Convert ranked rows to ranked documents, each with the score of its best row.

    Args:
        ranked: Ranked rows, [n_queries, n]; -1 is empty.
        documents: As in ``rank_documents``.
        depth: Number of documents to return.

    Returns:
        Scores and documents, [n_queries, depth]; missing ones are -1 with a score of -inf.
    """
    ranked = _leave_out(ranked, documents.own_row)
    docs = np.where(ranked.rows >= 0, documents.doc_of_row[ranked.rows], -1)
    order = np.argsort(docs, axis=1, kind="stable")  # the best row of each document is first
    ordered = np.take_along_axis(docs, order, 1)
    is_first = np.ones(docs.shape, dtype=np.bool_)
    is_first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty_like(is_first)
    np.put_along_axis(first, order, is_first & (ordered >= 0), 1)
    query, place = np.nonzero(first)
    new_place = first.cumsum(axis=1)[query, place] - 1
    within = new_place < depth
    query, place, new_place = query[within], place[within], new_place[within]
    scores = np.full((len(docs), depth), -np.inf, dtype=np.float32)
    scores[query, new_place] = ranked.scores[query, place]
    found = np.full((len(docs), depth), -1, dtype=np.int64)
    found[query, new_place] = docs[query, place]
    return Ranked(scores, found)


def _leave_out(ranked: Ranked, own_row: Rows) -> Ranked:
    """Move the row that a query ignores to the end of its line, as an empty position."""
    own = (ranked.rows == own_row[:, None]) & (own_row >= 0)[:, None]
    if not own.any():
        return ranked
    order = np.argsort(own, axis=1, kind="stable")
    scores, rows = np.where(own, -np.inf, ranked.scores), np.where(own, -1, ranked.rows)
    taken = (np.take_along_axis(each, order, 1) for each in (scores, rows))
    return Ranked(*taken)


def _no_step() -> None:
    """Do nothing."""
