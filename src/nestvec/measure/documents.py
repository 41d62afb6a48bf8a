"""Rank documents, each at the place of its best chunk where several rows are of one.

What is cut is cut as in deployment: a shortlist holds chunks, and the last stage hands on as many
as surely hold the documents asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nestvec.engines.flat.representations import Representations
from nestvec.measure.exhaustive import rank
from nestvec.metrics.ranking import Ranked
from nestvec.types import Embeddings, OperatingPoint, Rows

_RANKED_BYTES = 512 * 2**20  # of chunks ranked at a time, over all points


def rank_documents(
    points: Sequence[OperatingPoint],
    queries: Embeddings,
    corpus: Representations,
    doc_of_row: Rows,
    *,
    depth: int,
    on_step: Callable[[], None] = lambda: None,
) -> dict[OperatingPoint, Ranked]:
    """Return the best documents of each query at each point, as ``exhaustive.rank`` does rows.

    Args:
        points: As there.
        queries: As there.
        corpus: As there.
        doc_of_row: The document that each row of the corpus is of, [n_rows].
        depth: How many documents.
        on_step: As there.

    Returns:
        For each point scores and documents, [n_queries, at most depth], best first; chunks' ties
        by ascending row. Row -1 at the end, with a score of -inf, where a shortlist held fewer.
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
    """Count the rows that hold ``depth`` documents, however they are ranked."""
    sizes = np.sort(np.bincount(doc_of_row))[::-1]
    return min(int(sizes[: depth - 1].sum()) + 1, len(doc_of_row))


def collapse(ranked: Ranked, doc_of_row: Rows, depth: int) -> Ranked:
    """Keep the best row of each document, in the order of the rows, and name the document.

    Args:
        ranked: Rows, [n_queries, n]; -1 is empty.
        doc_of_row: The document of each row.
        depth: How many documents, and the width of the result.

    Returns:
        Scores and documents, [n_queries, depth], with -inf and -1 where there are fewer.
    """
    docs = np.where(ranked.rows >= 0, doc_of_row[ranked.rows], -1)
    order = np.argsort(docs, axis=1, kind="stable")  # the best of each document first
    ordered = np.take_along_axis(docs, order, 1)
    is_first = np.ones(docs.shape, dtype=np.bool_)
    is_first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty_like(is_first)
    np.put_along_axis(first, order, is_first & (ordered >= 0), 1)
    line, place = np.nonzero(first)
    new_place = first.cumsum(axis=1)[line, place] - 1
    kept = new_place < depth
    line, place, new_place = line[kept], place[kept], new_place[kept]
    scores = np.full((len(docs), depth), -np.inf, dtype=np.float32)
    scores[line, new_place] = ranked.scores[line, place]
    found = np.full((len(docs), depth), -1, dtype=np.int64)
    found[line, new_place] = docs[line, place]
    return Ranked(scores, found)


def _no_step() -> None:
    """Blocks of queries after the first are part of the same steps."""
