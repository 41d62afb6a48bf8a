"""Rank documents; a document with several chunks (rows) gets the rank of its best chunk.

Shortlists contain chunks, as in the deployed index. The last stage ranks enough chunks to contain
the requested number of documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from nestvec.engines.flat.representations import Representations
from nestvec.measure.exhaustive import rank
from nestvec.metrics.ranking import Ranked
from nestvec.types import Embeddings, OperatingPoint, Rows

_RANKED_BYTES = 512 * 2**20  # size of the rankings of chunks that are held at a time


class DocumentRows(NamedTuple):
    """Which rows of the corpus form a document, and which row each query ignores.

    Attributes:
        doc_of_row: Number of the document of each row, [n_rows].
        own_row: Row that contains the query itself and is left out of its ranking, [n_queries]; -1
            if there is none.
    """

    doc_of_row: Rows
    own_row: Rows

    def needed(self, depth: int) -> int:
        """Return the number of rows to rank so that ``depth`` documents remain."""
        extra = int((self.own_row >= 0).any())
        return min(rows_needed(self.doc_of_row, depth) + extra, len(self.doc_of_row))

    def part(self, queries: Rows, rows: Rows) -> DocumentRows:
        """Return the values of some queries, for a corpus that contains only the given rows."""
        place = np.full(len(self.doc_of_row) + 1, -1, dtype=np.int64)  # the last is for no row
        place[rows] = np.arange(len(rows))
        return DocumentRows(self.doc_of_row[rows], place[self.own_row[queries]])

    def block(self, queries: slice) -> DocumentRows:
        """Return the values of a block of queries."""
        return DocumentRows(self.doc_of_row, self.own_row[queries])


def rank_documents(
    points: Sequence[OperatingPoint],
    queries: Embeddings,
    corpus: Representations,
    documents: DocumentRows,
    *,
    depth: int,
    on_step: Callable[[], None] = lambda: None,
) -> dict[OperatingPoint, Ranked]:
    """Return the best documents of each query at each point.

    Args:
        points: As in ``exhaustive.rank``.
        queries: As in ``exhaustive.rank``.
        corpus: As in ``exhaustive.rank``.
        documents: The documents that the rows form, and the row that each query ignores.
        depth: Number of documents to return.
        on_step: As in ``exhaustive.rank``.

    Returns:
        Scores and documents for each point, [n_queries, at most depth], best first; ties between
        chunks are in ascending row. If a shortlist contains fewer documents, the last ones are -1
        with a score of -inf.
    """
    doc_of_row, width = documents.doc_of_row, documents.needed(depth)
    if np.array_equal(doc_of_row, np.arange(len(doc_of_row))):
        ranked = rank(points, queries, corpus, depth=width, on_step=on_step)
        return {p: _leave_out(each, documents.own_row).top(depth) for p, each in ranked.items()}
    parts = []
    size = max(1, _RANKED_BYTES // (12 * width * len(points)))
    for start in range(0, len(queries), size):
        step, block = on_step if start == 0 else _no_step, slice(start, start + size)
        found = rank(points, queries[block], corpus, depth=width, on_step=step)
        inside = documents.block(block)
        parts.append({point: collapse(each, inside, depth) for point, each in found.items()})
    return {
        point: Ranked(*map(np.concatenate, zip(*(part[point] for part in parts), strict=True)))
        for point in points
    }


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
    """Do nothing: steps are counted for the first block of queries only."""
