"""Search the full stored vectors of a snapshot exactly, as a reference for other searches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.embedded.searching import order_ties_by_id
from nestvec.engines.embedded.snapshot import SelectedRows, Snapshot
from nestvec.engines.flat.candidates import MARGIN
from nestvec.engines.flat.exact_scan import nearest
from nestvec.engines.flat.scan import Allowed
from nestvec.engines.flat.scoring import score
from nestvec.engines.flat.views import FLOAT_ERROR
from nestvec.metrics.ranking import Ranked, order
from nestvec.types import Embeddings, Rows

_WIDEN = 4


def search_exactly(
    snapshot: Snapshot, queries: Embeddings, k: int, selection: SelectedRows | None = None
) -> Ranked:
    """Return the scores and positions of the best ``k``, equal scores by descending id.

    Candidates are found by products whose last digits depend on the order of summation. Scores in
    one order decide which candidates are returned. More candidates are fetched until all others
    score lower, whatever the rounding.

    Args:
        snapshot: The snapshot to search.
        queries: [n_queries, full_dim], normalized.
        k: At least 1.
        selection: The documents to search; None for all.
    """
    segments = list(_segments(snapshot, selection))
    count = sum(len(vectors) if each is None else each.count for _, vectors, each in segments)
    k = min(k, count)
    width = min(k + MARGIN, count)
    while True:
        found = _candidates(segments, queries, width)
        ranked = _ranked(snapshot, queries, found)
        lowest = found.scores.min(axis=1, initial=np.inf)
        if width == count or (ranked.scores[:, k - 1] > lowest + FLOAT_ERROR).all():
            return ranked.top(k)
        width = min(width * _WIDEN, count)


_Segment = tuple[int, NDArray[np.floating], Allowed | None]
"""The first row of a mapped array, the array, and the rows to search; None for all."""


def _segments(snapshot: Snapshot, selection: SelectedRows | None) -> Iterator[_Segment]:
    live = snapshot.live if selection is None else selection.mask
    stacked = snapshot.vectors
    for start, vectors in zip(stacked.starts.tolist(), stacked.arrays, strict=True):
        own = live[start : start + len(vectors)]
        allowed = None if own.all() else Allowed(own)
        if len(vectors) and (allowed is None or allowed.count):
            yield start, vectors, allowed


def _candidates(segments: list[_Segment], queries: Embeddings, width: int) -> Ranked:
    """Return rows that contain the best ``width`` rows of all segments, not in order."""
    shape = (len(queries), 0)
    scores, rows = [np.empty(shape, np.float32)], [np.empty(shape, np.int64)]
    for start, vectors, allowed in segments:
        n_own = len(vectors) if allowed is None else allowed.count
        found = nearest(vectors, queries, min(width, n_own), allowed)
        scores.append(found.scores)
        rows.append(found.rows + start)
    return order(np.concatenate(scores, axis=1), np.concatenate(rows, axis=1)).top(width)


def _ranked(snapshot: Snapshot, queries: Embeddings, found: Ranked) -> Ranked:
    """Return the candidates by exact scores, as positions."""

    def vectors_of(rows: Rows) -> Embeddings:
        return snapshot.vectors.floats(rows, queries.shape[1])

    scores = score(queries, found.rows, vectors_of, empty=np.empty(0, np.int64))
    ranked = order(scores, snapshot.positions[found.rows])
    order_ties_by_id(ranked, snapshot.ids)
    return ranked
