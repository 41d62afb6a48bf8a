"""The HNSW index of a table: when it is built, how wide it searches, and what it loses.

Below ``LEAST_ROWS`` documents, a search scans the table and is exact. Above, one index serves the
first stage of the operating point. ``fitting`` chooses ``ef_search`` when the index is built.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from nestvec.codec.quantizer import code_bytes
from nestvec.engines.filters.condition import Condition
from nestvec.engines.fitting import SAMPLED, Fitted, K, fit, queries_between
from nestvec.engines.manifest import Settings
from nestvec.engines.pgvector.connection import Connections
from nestvec.engines.pgvector.statements import (
    LARGEST_EF_SEARCH,
    MAX_INDEXED_DIMS,
    VectorColumn,
    index_definition,
)
from nestvec.types import CodeKey, Embeddings, Hits, OperatingPoint

LEAST_ROWS = 10_000
M, EF_CONSTRUCTION = 16, 200
EF_SEARCH = (40, 60, 100, 150, 200, 300, 400, 600, LARGEST_EF_SEARCH)
_LEAST_KB, _MOST_KB = 64 * 1024, 2 * 1024 * 1024  # memory of the server to build a graph
_NODE_BYTES = 500  # neighbors and headers of a node of the graph in memory, at m = 16
_LONG_S = 3_600.0
_KNOWN_S = 5.0  # another process may have built or dropped an index
_KEY = re.compile(r"_(?P<dim>[0-9]+)_(?P<precision>float32|float16|sign)$")
_logger = logging.getLogger(__name__)

SearchFunction: TypeAlias = Callable[
    [Embeddings, int, OperatingPoint | None, Condition | None], Hits
]


def first_index(point: OperatingPoint) -> CodeKey:
    """Return the representation that the index of a point stores."""
    return point.stages[0].representation


class Indexes:
    """The HNSW indexes of one table."""

    def __init__(self, connections: Connections, table: str, vectors: VectorColumn) -> None:
        """Name the table and its column of vectors."""
        self._connections, self._table, self._vectors = connections, table, vectors
        self._found: frozenset[CodeKey] = frozenset()
        self._found_at = -_KNOWN_S
        self._ef_search: int | None = None

    def known(self) -> frozenset[CodeKey]:
        """Return the representations of complete indexes."""
        if time.monotonic() - self._found_at > _KNOWN_S:
            self._refresh()
        return self._found

    def ef_search(self, wanted: int, settings: Settings) -> int:
        """Return ``hnsw.ef_search`` for a number of candidates."""
        fitted = self._ef_search or int(settings.get("ef_search", EF_SEARCH[0]))
        return min(LARGEST_EF_SEARCH, max(fitted, wanted))

    def use_ef_search(self, connection: Any, ef_search: int) -> None:
        """Set ``hnsw.ef_search`` of a connection, if it has another value."""
        if getattr(connection, "nestvec_ef_search", None) != ef_search:
            connection.execute("SELECT set_config('hnsw.ef_search', %s, false)", [str(ef_search)])
            connection.nestvec_ef_search = ef_search

    def prepare(self, point: OperatingPoint, rows: int, search: SearchFunction) -> Settings:
        """Build the index of a point if the table is large enough, and fit its ``ef_search``."""
        key = first_index(point)
        # The planner decides by the number of matches.
        self._connections.maintain(f'ANALYZE "{self._table}"')
        if rows < LEAST_ROWS:
            return {}
        if key[0] > MAX_INDEXED_DIMS[key[1]]:
            _logger.warning(
                "%s: pgvector indexes at most %d dims of %s, so every search scans the table. "
                "Use a first stage with fewer dims.",
                *(point, MAX_INDEXED_DIMS[key[1]], key[1]),
            )
            return {}
        if key not in self._refresh():
            self._create(key, rows)
            self._refresh()
        fitted = self._fit(point, search)
        built: Settings = {"index": "hnsw", "m": M, "ef_construction": EF_CONSTRUCTION}
        return {**built, **fitted.settings("ef_search")}

    def drop_others(self, key: CodeKey) -> None:
        """Drop all indexes of vectors except that of one representation."""
        for other in self._refresh() - {key}:
            self._connections.maintain(f"DROP INDEX CONCURRENTLY IF EXISTS {self._name(other)}")
        self._refresh()

    def rebuild(self) -> None:
        """Rebuild all indexes of vectors while searches continue."""
        for key in self._refresh():
            self._connections.maintain(f"REINDEX INDEX CONCURRENTLY {self._name(key)}")

    def bytes(self) -> int:
        """Return the size of all indexes of vectors."""
        names = [self._name(key) for key in self._refresh()]
        size = "coalesce(sum(pg_relation_size(name::regclass)), 0)"
        query = f"SELECT {size} FROM unnest(%s::text[]) AS name"
        return int(self._connections.run(lambda c: c.execute(query, [names]).fetchone())[0])

    def _fit(self, point: OperatingPoint, search: SearchFunction) -> Fitted:
        """Return the smallest ``ef_search`` that retains enough, and its overlap."""
        queries, wanted = self._sample(), point.stages[0].keep or K
        with self._without_indexes():
            expected = search(queries, K, point, None)

        def by_width(ef_search: int) -> Hits:
            self._ef_search = ef_search
            return search(queries, K, point, None)

        widths = sorted({min(LARGEST_EF_SEARCH, max(wanted, each)) for each in EF_SEARCH})
        try:
            return fit(point, widths, by_width, expected)
        finally:
            self._ef_search = None

    @contextmanager
    def _without_indexes(self) -> Iterator[None]:
        """Let searches of this thread scan the table."""
        known, self._found = self._found, frozenset()
        self._found_at = time.monotonic() + _LONG_S
        try:
            yield
        finally:
            self._found, self._found_at = known, time.monotonic()

    def _sample(self) -> Embeddings:
        column, table = self._vectors.column, self._table
        query = f'SELECT {column} FROM "{table}" ORDER BY hashtext(id) LIMIT {SAMPLED}'
        rows = self._connections.run(lambda connection: connection.execute(query).fetchall())
        vectors = [each.to_numpy() if hasattr(each, "to_numpy") else each for (each,) in rows]
        return queries_between(np.asarray(vectors, dtype=np.float32))

    def _create(self, key: CodeKey, rows: int) -> None:
        name, definition = self._name(key), index_definition(self._vectors, key)
        self._connections.maintain(
            f"DROP INDEX CONCURRENTLY IF EXISTS {name}",  # of an interrupted build
            f'CREATE INDEX CONCURRENTLY {name} ON "{self._table}" USING hnsw ({definition}) '
            f"WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})",
            memory_kb=graph_kb(rows, key),
        )

    def _name(self, key: CodeKey) -> str:
        return f'"{self._table}_{key[0]}_{key[1]}"'

    def _refresh(self) -> frozenset[CodeKey]:
        query = """
            SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
            JOIN pg_am AS a ON a.oid = c.relam
            WHERE i.indrelid = to_regclass(%s) AND i.indisvalid AND a.amname = 'hnsw'
        """
        values = [f'"{self._table}"']
        rows = self._connections.run(lambda c: c.execute(query, values).fetchall())
        keys = (_KEY.search(name) for (name,) in rows)
        self._found = frozenset((int(k["dim"]), k["precision"]) for k in keys if k)  # type: ignore[misc]
        self._found_at = time.monotonic()
        return self._found


def graph_kb(rows: int, key: CodeKey) -> int:
    """Return the memory to build a graph: a graph that does not fit is built many times slower."""
    needed = rows * (code_bytes(*key) + _NODE_BYTES) // 1024
    return min(_MOST_KB, max(_LEAST_KB, needed))
