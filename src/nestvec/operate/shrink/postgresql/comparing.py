"""Fit ``hnsw.ef_search`` of the new search, and compare the search with exact answers.

The queries lie between sampled documents, as in ``engines.fitting``. Exact answers and those of the
operating point without its index come from scans, so large tables are asked fewer queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from nestvec.engines.fitting import SAMPLED, K, fit, mean_overlap, queries_between
from nestvec.engines.pgvector.indexes import EF_SEARCH
from nestvec.engines.pgvector.statements import LARGEST_EF_SEARCH
from nestvec.operate.shrink.postgresql.session import ShrinkSession
from nestvec.types import Embeddings, Hits, OnProgress, OperatingPoint

_SCANNED_ROWS = 20_000_000  # in all scans of a kind
_LEAST_QUERIES = 20


class Compared(NamedTuple):
    """The fitted ``hnsw.ef_search``, and overlap@10 of the new search with exact answers."""

    ef_search: int
    overlap: float
    queries: int


def sampled_queries(rows: int) -> int:
    """Return the number of queries for a table.

    >>> sampled_queries(50_000), sampled_queries(500_000), sampled_queries(10_000_000)
    (100, 40, 20)
    """
    return max(_LEAST_QUERIES, min(SAMPLED, _SCANNED_ROWS // max(1, rows)))


def compare(
    session: ShrinkSession,
    point: OperatingPoint,
    *,
    exact: str,
    new: str,
    sample: Embeddings,
    on_progress: OnProgress | None,
) -> Compared:
    """Fit ``hnsw.ef_search``, and compare the new search with exact answers.

    Args:
        session: The connection.
        point: The operating point.
        exact: The search at full width.
        new: The search by the operating point.
        sample: Vectors of sampled rows, [n, dim].
        on_progress: Is called with the number of scans done and in total.
    """
    queries = queries_between(sample[np.any(sample != 0, axis=1)])
    scans = 2 * len(queries)
    with _scanning(session):
        answers = _search(session, exact, queries, on_progress, 0, scans)
        expected = _search(session, new, queries, on_progress, len(queries), scans)
    found = Hits([], [])

    def by_width(ef_search: int) -> Hits:
        nonlocal found
        session.set("hnsw.ef_search", str(ef_search))
        found = _search(session, new, queries)
        return found

    session.set("hnsw.iterative_scan", "relaxed_order")
    wanted = point.stages[0].keep or K
    widths = sorted({min(LARGEST_EF_SEARCH, max(wanted, each)) for each in EF_SEARCH})
    fitted = fit(point, widths, by_width, expected)
    return Compared(fitted.width, round(mean_overlap(answers, found), 4), len(queries))


@contextmanager
def _scanning(session: ShrinkSession) -> Iterator[None]:
    """Let searches scan the table."""
    session.set("enable_indexscan", "off")
    try:
        yield
    finally:
        if not session.connection.closed:
            session.set("enable_indexscan", "on")


def _search(
    session: ShrinkSession,
    text: str,
    queries: Embeddings,
    on_progress: OnProgress | None = None,
    done: int = 0,
    total: int = 0,
) -> Hits:
    from pgvector import Vector

    ids, scores = [], []
    for number, query in enumerate(queries, 1):
        rows = session.numbered(text, [Vector(query), K])
        ids.append([str(row[:-1]) for row in rows])
        scores.append([-float(row[-1]) for row in rows])
        if on_progress is not None:
            on_progress(done + number, total)
    return Hits(ids, scores)
