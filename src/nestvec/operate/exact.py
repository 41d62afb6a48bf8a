"""Find the exact nearest documents of many queries while the vectors are read once.

Vectors arrive in blocks, in any number. Memory depends on the number of queries and on the size of
a block, not on the number of documents. Engines are not used: the vectors are those of a database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.prefix import normalize
from nestvec.engines.filters.condition import Condition
from nestvec.metrics.ranking import TopRows
from nestvec.types import Embeddings, Rows

Metric: TypeAlias = Literal["cosine", "ip", "l2"]
"""Cosine, inner product, or Euclidean distance. A higher score is nearer, also for ``l2``."""


TIE = 2e-6
"""Scores that differ by less are equal: a product rounds equal vectors differently."""
_UNIT_SQUARES = 1e-6  # a vector of this squared length needs no division: its score is off by half


class ScannedRows(NamedTuple):
    """Consecutive rows of a scan.

    Attributes:
        rows: Numbers of the rows, [m], ascending, and higher than those of earlier blocks.
        values: Their vectors, float32 [m, dim].
        matches: Whether each row matches each condition, [m, n_conditions].
    """

    rows: Rows
    values: Embeddings
    matches: NDArray[np.bool_]


Observer: TypeAlias = Callable[[ScannedRows], None]
"""Reads the blocks of a scan for another purpose, so that the vectors are not read again."""


class LiveQueries(NamedTuple):
    """Queries with their filters.

    Attributes:
        values: float32 [n, dim], as a model returned them.
        conditions: The distinct filters.
        groups: The number of the condition of each query, [n]; -1 for no filter.
    """

    values: Embeddings
    conditions: Sequence[Condition]
    groups: NDArray[np.int64]

    def condition(self, query: int) -> Condition | None:
        """Return the filter of a query; None for no filter."""
        group = int(self.groups[query])
        return None if group < 0 else self.conditions[group]


class ExactRows(NamedTuple):
    """The nearest rows of each query, best first.

    Attributes:
        rows: [n_queries, k]; -1 where fewer than k rows match.
        scores: [n_queries, k]; minus infinity where fewer than k rows match.
        counts: The number of rows that match each condition, [n_conditions].
        total: The number of rows with a nonzero vector.
        zeros: The number of rows whose vector is zero: no index by cosine contains them.
        lengths: The lowest and the highest length of a nonzero vector.
    """

    rows: Rows
    scores: Embeddings
    counts: Rows
    total: int
    zeros: int
    lengths: tuple[float, float]


class ExactSearch:
    """Ranks the rows of a scan for each query by the full vectors."""

    def __init__(self, queries: LiveQueries, k: int, metric: Metric) -> None:
        """Start without rows."""
        self._metric = metric
        self._groups = queries.groups
        values = queries.values
        self._queries = normalize(values) if metric == "cosine" else values
        self._top = TopRows(len(values), k)
        self._counts = np.zeros(len(queries.conditions), dtype=np.int64)
        self._zeros, self._total = 0, 0
        self._lengths = (np.inf, 0.0)
        self._memory = np.empty(0, dtype=np.float32)  # of the scores of a block

    def add(self, block: ScannedRows) -> None:
        """Score the rows of a block."""
        squares = np.einsum("nd,nd->n", block.values, block.values)
        scores = self._scores(block.values, squares)
        nonzero = squares > 0
        if not nonzero.all():
            scores[:, ~nonzero] = -np.inf
        self._observe(block, squares[nonzero], nonzero)
        for group in range(block.matches.shape[1]):
            lines = np.flatnonzero(self._groups == group)
            others = ~block.matches[:, group]
            scores[lines[:, None], np.flatnonzero(others)] = -np.inf
        self._top.add(scores, block.rows)

    def result(self) -> ExactRows:
        """Return the nearest rows. No block can be added afterwards."""
        ranked = self._top.ranked()
        rows = np.where(np.isneginf(ranked.scores), -1, ranked.rows)
        return ExactRows(rows, ranked.scores, self._counts, self._total, self._zeros, self._lengths)

    def _scores(self, values: Embeddings, squares: NDArray[np.float32]) -> Embeddings:
        size = len(self._queries) * len(values)
        if self._memory.size < size:
            self._memory = np.empty(size, dtype=np.float32)
        scores = self._memory[:size].reshape(len(self._queries), len(values))
        np.matmul(self._queries, values.T, out=scores)
        if self._metric == "cosine" and (np.abs(squares - 1) > _UNIT_SQUARES).any():
            scores *= 1 / np.sqrt(np.where(squares > 0, squares, 1))
        elif self._metric == "l2":
            scores *= 2
            scores -= squares
        return scores

    def _observe(
        self, block: ScannedRows, squares: NDArray[np.float32], nonzero: NDArray[np.bool_]
    ) -> None:
        self._counts += (block.matches & nonzero[:, None]).sum(axis=0)
        self._zeros += len(nonzero) - len(squares)
        self._total += len(squares)
        if len(squares):
            low, high = np.sqrt((squares.min(), squares.max()))
            self._lengths = (min(self._lengths[0], float(low)), max(self._lengths[1], float(high)))


def score_one(query: Embeddings, vector: Embeddings, metric: Metric) -> float:
    """Return the score of one document, as ``ExactSearch`` computes it.

    Args:
        query: [dim].
        vector: [dim].
        metric: The metric.
    """
    if metric == "cosine":
        query, vector = normalize(query[None])[0], normalize(vector[None])[0]
    product = float(query @ vector)
    return product if metric != "l2" else 2 * product - float(vector @ vector)
