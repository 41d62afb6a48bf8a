"""The first stage of a search: candidates with their stored vectors, from a scan or an index.

Lance orders by the inner product with a column of unit prefixes. It computes distances in its own
precision and returns equal ones in any order, so a few more candidates are fetched than the stage
keeps, and ``rescoring`` decides. A scan is repeated with more candidates while the last candidates
that the stage keeps tie with the last that were fetched.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nestvec.codec.prefix import prefix
from nestvec.engines.lancedb.opened import OpenTable
from nestvec.engines.lancedb.rows import ID, VECTOR, vectors_of
from nestvec.engines.rescoring import Shortlist
from nestvec.types import Embeddings

MORE, LEAST_MORE = 1.25, 32
"""Shortlist fetched, as a multiple of those kept, and the least number of additional ones."""
MOST_TIED = 16_384
"""A scan fetches at most this number of candidates because of ties."""
_TIE = 1e-6  # distances of equal vectors differ by less
_FETCHED_BYTES = 64 << 20  # of vectors of a batch of queries
_QUERY = "query_index"  # the column of results of several queries
_DISTANCE = "_distance"


@dataclass(frozen=True)
class ColumnSearch:
    """The first stage of a search.

    Attributes:
        table: The table.
        column: The column of vectors that it scans.
        dim: The width of the column.
        keep: The number of candidates that the stage keeps.
        condition: An SQL condition; None for all documents.
        nprobes: The number of partitions of the index that are searched; None to scan the table.
    """

    table: OpenTable
    column: str
    dim: int
    keep: int
    condition: str | None
    nprobes: int | None

    def candidates(self, queries: Embeddings) -> list[Shortlist]:
        """Return the candidates of each query: at least ``keep``, if as many match.

        Args:
            queries: [n_queries, full_dim], of unit length or zero.
        """
        wanted = max(int(MORE * self.keep), self.keep + LEAST_MORE)
        prefixes = prefix(queries, self.dim)
        found: list[Shortlist | None] = [None] * len(queries)
        scored = np.flatnonzero(prefixes.any(axis=1))
        at_a_time = max(1, _FETCHED_BYTES // (wanted * queries.shape[1] * 4))
        for start in range(0, len(scored), at_a_time):
            rows = scored[start : start + at_a_time]
            for row, each in zip(rows, self._nearest(prefixes[rows], wanted), strict=True):
                found[row] = each
        tied = None
        if len(scored) < len(queries):  # all documents have score 0
            tied = self._last_ids()
        return [tied if each is None else each for each in found]  # type: ignore[misc]

    def _nearest(self, prefixes: Embeddings, wanted: int) -> Iterator[Shortlist]:
        rows = self.table.read(lambda table: self._fetch(table, prefixes, wanted))
        numbers = np.zeros(len(rows), dtype=np.int64)
        if _QUERY in rows.column_names:
            numbers = rows[_QUERY].to_numpy()
        for query in range(len(prefixes)):
            own = rows.take(np.flatnonzero(numbers == query))
            yield self._without_ties(own, prefixes[query : query + 1], wanted)

    def _without_ties(self, rows: Any, one: Embeddings, wanted: int) -> Shortlist:
        """Return candidates of a query; scan again with more while the last ones tie."""
        while self.nprobes is None and wanted < MOST_TIED and _is_tied(rows, self.keep, wanted):
            wanted = min(4 * wanted, MOST_TIED)
            count = wanted
            rows = self.table.read(lambda table, n=count: self._fetch(table, one, n))  # type: ignore[misc]
        return Shortlist(rows[ID].to_pylist(), vectors_of(rows[VECTOR]))

    def _fetch(self, table: Any, prefixes: Embeddings, wanted: int) -> Any:
        query = table.search(list(prefixes), vector_column_name=self.column).distance_type("dot")
        query = query.select([ID, VECTOR, _DISTANCE]).limit(wanted)
        if self.condition is not None:
            query = query.where(self.condition)
        if self.nprobes is None:
            return query.bypass_vector_index().to_arrow()
        # Without a maximum, Lance would search all partitions, also without a filter.
        return query.minimum_nprobes(self.nprobes).maximum_nprobes(self.nprobes).to_arrow()

    def _last_ids(self) -> Shortlist:
        """Return the matching documents with the last ids."""
        blocks = self.table.blocks([ID], self.condition)
        ids = (id_ for block in blocks for id_ in block[ID].to_pylist())
        last = heapq.nlargest(self.keep, ids)
        return fetched(self.table, last)


def fetched(table: OpenTable, ids: Sequence[str]) -> Shortlist:
    """Return documents by id as candidates."""
    parts = table.select([ID, VECTOR], ids)
    if not parts:
        return Shortlist([], np.empty((0, 0), dtype=np.float32))
    return Shortlist(
        [id_ for part in parts for id_ in part[ID].to_pylist()],
        np.concatenate([vectors_of(part[VECTOR]) for part in parts]),
    )


def _is_tied(rows: Any, keep: int, wanted: int) -> bool:
    """Return whether more documents may have the distance of the last one that is kept."""
    if len(rows) < wanted:
        return False
    distances = rows[_DISTANCE].to_numpy()
    return bool(distances[-1] - distances[keep - 1] <= _TIE)
