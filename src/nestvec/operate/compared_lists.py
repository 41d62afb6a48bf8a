"""Choose the queries that a comparison lists, and list the results of both sides with titles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.operate.compared_sides import titles_of
from nestvec.operate.comparison_report import ComparedLists, ComparedResult, QueryComparison
from nestvec.operate.live.database import LiveDatabase

WORST_SHARE = 0.01
"""The share of the queries that count as the worst."""
EPSILON = 1e-9
"""Scores that differ by less are equal."""
_LEAST_LISTED = 5
_MOST_LISTED = 50


class SideResults(NamedTuple):
    """Results of one side, and the milliseconds of each query."""

    ids: list[list[str]]
    ms: NDArray[np.float64]


class QueryLists:
    """Both result lists of single queries, with titles."""

    def __init__(
        self,
        sides: Sequence[LiveDatabase],
        found: Sequence[SideResults],
        only: Sequence[set[str]],
        grades: Mapping[str, Mapping[str, int]],
        rows: Sequence[QueryComparison],
    ) -> None:
        self._sides, self._found, self._only = sides, found, only
        self._grades, self._rows = grades, rows

    def of(self, queries: Sequence[int]) -> tuple[ComparedLists, ...]:
        """Return the lists of some queries."""
        ids = {id_ for n in queries for side in self._found for id_ in side.ids[n]}
        titles = titles_of(self._sides, sorted(ids))
        return tuple(
            ComparedLists(self._rows[n], self._list(n, 0, titles), self._list(n, 1, titles))
            for n in queries
        )

    def _list(
        self, query: int, number: int, titles: Mapping[str, str]
    ) -> tuple[ComparedResult, ...]:
        own, other = (self._found[each].ids[query] for each in (number, 1 - number))
        ranks = {id_: rank for rank, id_ in enumerate(other, 1)}
        grades = self._grades.get(self._rows[query].id, {})
        return tuple(
            ComparedResult(
                id_,
                titles.get(id_, ""),
                rank,
                ranks.get(id_),
                missing=id_ in self._only[number],
                relevant=grades.get(id_, 0) > 0,
            )
            for rank, id_ in enumerate(own, 1)
        )


def worst_queries(rows: Sequence[QueryComparison]) -> list[int]:
    """Return the numbers of the queries with the lowest overlap, if any result changed."""

    def key(n: int) -> tuple[float, float, int]:
        return rows[n].overlap or 0.0, rows[n].rbo or 0.0, n

    changed = [
        n
        for n, row in enumerate(rows)
        if row.overlap is not None and (row.entered or row.left or row.moved)
    ]
    wanted = max(_LEAST_LISTED, round(WORST_SHARE * len(rows)))
    return sorted(changed, key=key)[: min(wanted, _MOST_LISTED)]


def changed_most(rows: Sequence[QueryComparison], *, sign: int) -> list[int]:
    """Return the numbers of the queries whose metric changes most in one direction."""
    changed = [n for n, row in enumerate(rows) if sign * row.gain > EPSILON]
    return sorted(changed, key=lambda n: -sign * rows[n].gain)[:_LEAST_LISTED]
