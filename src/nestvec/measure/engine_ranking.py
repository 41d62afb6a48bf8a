"""Rank documents by the searches of an engine that can miss documents.

The index of such an engine is part of the measurement: its ranking replaces exhaustive scoring.
Queries with a filter are searched with the filter, and timed separately.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from nestvec.codec.threads import one_thread
from nestvec.engines.engine import Search, Trial
from nestvec.engines.filters.condition import Condition
from nestvec.engines.manifest import Settings
from nestvec.measure.cost import ENOUGH_S, LEAST_QUERIES, TIMED_QUERIES, WARM_UP
from nestvec.measure.documents import collapse
from nestvec.measure.filters import QueryFilters
from nestvec.measure.texts import Texts
from nestvec.metrics.ranking import Ranked
from nestvec.types import Embeddings, OperatingPoint, Rows

_BLOCK = 64  # queries of one call


class EngineRanking:
    """Collects the rankings of an engine while its points are timed.

    Attributes:
        ranked: Ranked documents by point.
        settings: Settings of the search structures by point.
        filtered_p50_ms: Median time of a query with a filter, by point and selectivity.
    """

    def __init__(
        self,
        trial: Trial,
        queries: Embeddings,
        texts: Texts,
        filters: QueryFilters | None,
        *,
        depth: int,
    ) -> None:
        """Prepare the rankings.

        Args:
            trial: The engine's search over the corpus.
            queries: [n_queries, full_dim].
            texts: The rows of the corpus, and the documents that the rows form.
            filters: The filters of the queries; None without filters.
            depth: Number of documents to rank.
        """
        self.ranked: dict[OperatingPoint, Ranked] = {}
        self.settings: dict[OperatingPoint, Settings] = {}
        self.filtered_p50_ms: dict[OperatingPoint, Mapping[str, float]] = {}
        self._trial, self._queries, self._filters = trial, queries, filters
        self._documents, self._depth = texts.documents, depth
        self._row_of = {id_: row for row, id_ in enumerate(texts.row_ids)}

    def add(self, point: OperatingPoint, search: Search) -> None:
        """Rank the documents at a point by the engine's search."""
        n, width = len(self._queries), self._documents.needed(self._depth)
        scores = np.full((n, width), -np.inf, dtype=np.float32)
        rows = np.full((n, width), -1, dtype=np.int64)
        for where, numbers in self._blocks():
            hits = search(self._queries[numbers], width, where)
            for number, ids, found in zip(numbers.tolist(), hits.ids, hits.scores, strict=True):
                rows[number, : len(ids)] = [self._row_of[id_] for id_ in ids]
                scores[number, : len(ids)] = found
        self.ranked[point] = collapse(Ranked(scores, rows), self._documents, self._depth)
        self.settings[point] = self._trial.settings(point)

    def time_filtered(self, point: OperatingPoint, search: Search, k: int) -> None:
        """Time single queries with a filter, separately for each selectivity.

        As in ``cost``, the time includes the lookup of ``k`` documents.
        """
        by_selectivity: dict[str, list[tuple[int, Condition]]] = {}
        for group in self._filters.groups if self._filters is not None else ():
            if group.where is not None:
                own = by_selectivity.setdefault(group.selectivity, [])
                own += [(number, group.where) for number in group.queries.tolist()]
        self.filtered_p50_ms[point] = {
            name: float(np.median(self._times_ms(search, sorted(queries, key=_number), k)))
            for name, queries in by_selectivity.items()
        }

    def _blocks(self) -> Iterator[tuple[Condition | None, Rows]]:
        """Yield blocks of queries with the same filter."""
        groups: list[tuple[Condition | None, Rows]] = [(None, np.arange(len(self._queries)))]
        if self._filters is not None:
            groups = [(group.where, group.queries) for group in self._filters.groups]
        for where, numbers in groups:
            for start in range(0, len(numbers), _BLOCK):
                yield where, numbers[start : start + _BLOCK]

    def _times_ms(
        self, search: Search, queries: Sequence[tuple[int, Condition]], k: int
    ) -> list[float]:
        times: list[float] = []
        with one_thread():
            for number, where in queries[:WARM_UP]:
                search(self._queries[[number]], k, where)
            begun = time.perf_counter()
            for number, where in queries[:TIMED_QUERIES]:
                start = time.perf_counter()
                search(self._queries[[number]], k, where)
                times.append((time.perf_counter() - start) * 1000 + self._trial.lookup_ms(k))
                if len(times) >= LEAST_QUERIES and time.perf_counter() - begun > ENOUGH_S:
                    break
        return times


def _number(query: tuple[int, Condition]) -> int:
    return query[0]
