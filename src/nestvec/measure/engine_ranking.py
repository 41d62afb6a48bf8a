"""Rank documents by the searches of an engine that can miss documents.

The index of such an engine is part of the measurement: its ranking replaces exhaustive scoring.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nestvec.engines.engine import Search, Trial
from nestvec.engines.manifest import Settings
from nestvec.measure.documents import DocumentSearch
from nestvec.metrics.ranking import Ranked
from nestvec.types import Embeddings, OperatingPoint

_BLOCK = 64  # queries of one call


class EngineRanking:
    """Collects the rankings of an engine while its points are timed.

    Attributes:
        ranked: Ranked documents by point.
        settings: Settings of the search structures by point.
    """

    def __init__(
        self, trial: Trial, search: DocumentSearch, queries: Embeddings, row_ids: Sequence[str]
    ) -> None:
        """Prepare the rankings.

        Args:
            trial: The engine's search over the corpus.
            search: Joins rows to documents.
            queries: [n_queries, full_dim].
            row_ids: Ids of the rows of the corpus.
        """
        self.ranked: dict[OperatingPoint, Ranked] = {}
        self.settings: dict[OperatingPoint, Settings] = {}
        self._trial, self._search, self._queries = trial, search, queries
        self._row_of = {id_: row for row, id_ in enumerate(row_ids)}

    def add(self, point: OperatingPoint, search: Search) -> None:
        """Rank the documents at a point by the engine's search."""
        n, width = len(self._queries), self._search.width
        scores = np.full((n, width), -np.inf, dtype=np.float32)
        rows = np.full((n, width), -1, dtype=np.int64)
        for start in range(0, n, _BLOCK):
            hits = search(self._queries[start : start + _BLOCK], width)
            for number, (ids, found) in enumerate(zip(hits.ids, hits.scores, strict=True), start):
                rows[number, : len(ids)] = [self._row_of[id_] for id_ in ids]
                scores[number, : len(ids)] = found
        self.ranked[point] = self._search.documents_in(Ranked(scores, rows), np.arange(n))
        self.settings[point] = self._trial.settings(point)
