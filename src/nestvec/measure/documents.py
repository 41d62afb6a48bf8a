"""Rank documents; a document with several chunks (rows) gets the rank of its best chunk.

Shortlists contain chunks, as in the deployed index. The last stage ranks enough chunks to contain
the requested number of documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nestvec.engines.flat.representations import Representations
from nestvec.measure.exhaustive import rank
from nestvec.metrics.ranking import Ranked
from nestvec.types import Embeddings, OperatingPoint, Rows

_RANKED_BYTES = 512 * 2**20  # size of the rankings of chunks that are held at a time


def rank_documents(
    points: Sequence[OperatingPoint],
    queries: Embeddings,
    corpus: Representations,
    doc_of_row: Rows,
    *,
    depth: int,
    on_step: Callable[[], None] = lambda: None,
) -> dict[OperatingPoint, Ranked]:
    """Return the best documents of each query at each point.

    Args:
        points: As in ``exhaustive.rank``.
        queries: As in ``exhaustive.rank``.
        corpus: As in ``exhaustive.rank``.
        doc_of_row: Number of the document of each row of the corpus, [n_rows].
        depth: Number of documents to return.
        on_step: As in ``exhaustive.rank``.

    Returns:
        Scores and documents for each point, [n_queries, at most depth], best first; ties between
        chunks are in ascending row. If a shortlist contains fewer documents, the last ones are -1
        with a score of -inf.
    """
    width = rows_needed(doc_of_row, depth)
    if width == min(depth, len(doc_of_row)):
        ranked = rank(points, queries, corpus, depth=depth, on_step=on_step)
        if np.array_equal(doc_of_row, np.arange(len(doc_of_row))):
            return ranked
        return {p: Ranked(each.scores, doc_of_row[each.rows]) for p, each in ranked.items()}
    parts = []
    size = max(1, _RANKED_BYTES // (12 * width * len(points)))
    for start in range(0, len(queries), size):
        step = on_step if start == 0 else _no_step
        found = rank(points, queries[start : start + size], corpus, depth=width, on_step=step)
        parts.append({point: collapse(each, doc_of_row, depth) for point, each in found.items()})
    return {
        point: Ranked(*map(np.concatenate, zip(*(part[point] for part in parts), strict=True)))
        for point in points
    }


def rows_needed(doc_of_row: Rows, depth: int) -> int:
    """Return the number of rows that contain at least ``depth`` documents in any ranking."""
    sizes = np.sort(np.bincount(doc_of_row))[::-1]
    return min(int(sizes[: depth - 1].sum()) + 1, len(doc_of_row))


def collapse(ranked: Ranked, doc_of_row: Rows, depth: int) -> Ranked:
    """Convert ranked rows to ranked documents, each with the score of its best row.

    Args:
        ranked: Ranked rows, [n_queries, n]; -1 is empty.
        doc_of_row: Document of each row.
        depth: Number of documents to return.

    Returns:
        Scores and documents, [n_queries, depth]; missing ones are -1 with a score of -inf.
    """
    docs = np.where(ranked.rows >= 0, doc_of_row[ranked.rows], -1)
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


def _no_step() -> None:
    """Do nothing: steps are counted for the first block of queries only."""
