"""A table of documents in PostgreSQL: changes, searches, indexes and sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.checks import existing_id
from nestvec.engines.filters.condition import Condition
from nestvec.engines.filters.fields import FieldKinds, Kinds
from nestvec.engines.filters.postgresql import Compiled, compile_condition
from nestvec.engines.manifest import Manifest, Settings
from nestvec.engines.pgvector.connection import Connections
from nestvec.engines.pgvector.indexes import Indexes, first_index
from nestvec.engines.pgvector.rows import DocumentRow, check_ids
from nestvec.engines.pgvector.statements import (
    TYPES,
    Statement,
    VectorColumn,
    orders_ties,
    search_statement,
)
from nestvec.engines.tables import DocumentTable, TableSizes
from nestvec.sources.postgresql import quoted
from nestvec.types import Document, Embeddings, Hits, OperatingPoint, Stage

_BLOCK = 1_024  # ids read at a time
_COLUMNS = "id, title, text, metadata, original"
_METADATA = "metadata"
_KINDS = {
    "string": Kinds.STRING,
    "number": Kinds.NUMBER,
    "boolean": Kinds.BOOLEAN,
    "array": Kinds.LIST,
}
_SAME = "t.{column} IS DISTINCT FROM excluded.{column}"
_CHANGED = ("title", "text", "metadata", "original", "embedding")


class PostgresTable(DocumentTable):
    """An open table of documents."""

    def __init__(
        self, connections: Connections, name: str, vectors: VectorColumn, manifest: Manifest
    ) -> None:
        """Open a table.

        Args:
            connections: The pool of connections.
            name: The name of the table.
            vectors: Its column of vectors.
            manifest: The manifest of the index.
        """
        self.manifest = manifest
        self._connections, self._name, self._vectors = connections, name, vectors
        self._table = quoted(name)
        self._indexes = Indexes(connections, name, vectors)

    def add(
        self, added: Mapping[str, Document], vectors: NDArray[np.floating], *, replace: bool
    ) -> None:
        """Add all documents in one transaction, as ``DocumentTable.add`` does."""
        ids = check_ids(list(added))
        rows = [DocumentRow.of(document) for document in added.values()]
        kind = TYPES[self._vectors.stored]

        def copy(connection: Any) -> None:
            existing = self._existing(connection, ids)
            if existing and not replace:
                raise existing_id([id_ for id_ in ids if id_ in existing])
            target = self._table
            if existing:
                target, like = "nestvec_added", f"LIKE {self._table}"
                connection.execute(f"CREATE TEMP TABLE {target} ({like}) ON COMMIT DROP")
            _copy(connection, target, kind, ids, rows, vectors)
            if existing:
                connection.execute(self._upsert(target))

        self._connections.transact(copy, index=self._name)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents in one transaction, and return the number of deleted documents."""
        text = f"DELETE FROM {self._table} WHERE id = ANY(%s)"
        known = [id_ for id_ in ids if "\0" not in id_]
        return self._connections.transact(
            lambda connection: int(connection.execute(text, [known]).rowcount), index=self._name
        )

    def count(self, where: Condition | None = None) -> int:
        """Return the exact number of documents that match a condition."""
        text, values = self._condition(where) or ("true", [])
        query = f"SELECT count(*) FROM {self._table} WHERE {text}"
        return int(self._rows(query, values)[0][0])

    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents, ascending, in blocks."""
        query = f"SELECT id FROM {self._table} WHERE id > %s ORDER BY id LIMIT {_BLOCK}"
        first = f"SELECT id FROM {self._table} ORDER BY id LIMIT {_BLOCK}"
        block = self._rows(first, [])
        while block:
            yield from (id_ for (id_,) in block)
            block = self._rows(query, [block[-1][0]])

    def existing(self, ids: Sequence[str]) -> set[str]:
        """Return the ids that the table contains."""
        return self._connections.run(lambda connection: self._existing(connection, ids))

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return documents by id; unknown ids are left out."""
        rows = self._select(_COLUMNS, ids)
        return {id_: DocumentRow.read(*columns) for id_, *columns in rows}

    def vectors(self, ids: Sequence[str]) -> dict[str, Embeddings]:
        """Return stored vectors, float32 [full_dim], by id; unknown ids are left out."""
        rows = self._select(f"id, {self._vectors.column}", ids)
        return {id_: _array(vector) for id_, vector in rows}

    def search(
        self, queries: Embeddings, k: int, point: OperatingPoint | None, where: Condition | None
    ) -> Hits:
        """Return the best ``k`` documents of each query, as ``DocumentTable.search`` does.

        If an index returns fewer candidates than match, the search is repeated without the index.
        """
        exact = Stage(self._vectors.full_dim, self._vectors.stored)
        stages = (exact,) if point is None else point.stages
        condition = self._condition(where)
        ef_search = None
        if point is not None and stages[0].representation in self._indexes.known():
            ef_search = self._indexes.ef_search(_examined(stages, k), self.manifest.settings)
        statement = self._statement(stages, k, condition, indexed=ef_search is not None)
        found = self._run(statement, queries, ef_search)
        if ef_search is not None:
            wanted = stages[0].keep or k
            short = [row for row, (_, n) in enumerate(found) if n < wanted]
            if short and min(found[row][1] for row in short) < self._at_most(condition, wanted):
                exhaustive = self._statement(stages, k, condition, indexed=False)
                again = self._run(exhaustive, queries[short], None)
                for row, result in zip(short, again, strict=True):
                    found[row] = result
        ids = [[id_ for id_, _, _ in rows] for rows, _ in found]
        return Hits(ids, [[-distance for _, distance, _ in rows] for rows, _ in found])

    def field_kinds(self, fields: Iterable[str], limit: int | None) -> dict[str, FieldKinds]:
        """Return the kinds of values of fields, as ``DocumentTable.field_kinds`` does."""
        most = "ALL" if limit is None else str(limit)
        query = f"""
            SELECT DISTINCT jsonb_typeof(found.value), jsonb_typeof(items.value)
            FROM (SELECT {_METADATA} -> %s AS value FROM {self._table}
                  WHERE {_METADATA} ? %s LIMIT {most}) AS found
            LEFT JOIN LATERAL jsonb_array_elements(
                CASE jsonb_typeof(found.value) WHEN 'array' THEN found.value END) AS items ON true
        """
        kinds = {}
        for name in fields:
            values, items = Kinds.NONE, Kinds.NONE
            for value, item in self._rows(query, [name, name]) if "\0" not in name else ():
                values |= _KINDS.get(value, Kinds.NONE)
                items |= _KINDS.get(item, Kinds.NONE)
            kinds[name] = FieldKinds(values, items)
        return kinds

    def field_names(self) -> Iterable[str]:
        """Return the fields of all documents."""
        query = f"SELECT DISTINCT jsonb_object_keys({_METADATA}) FROM {self._table}"
        return [name for (name,) in self._rows(query, [])]

    def prepare(self, point: OperatingPoint) -> Settings:
        """Build the index of the first stage, if the table is large enough to need one."""
        return self._indexes.prepare(point, self.count(), self.search)

    def remove_unused(self, point: OperatingPoint) -> None:
        """Drop the indexes that a point does not use."""
        self._indexes.drop_others(first_index(point))

    def compact(self) -> None:
        """Rebuild the search structures, and free the space of deleted rows."""
        self._indexes.rebuild()
        self._connections.maintain(f"VACUUM ANALYZE {self._table}")

    def lock(self) -> None:
        """Prevent changes by other processes, as ``DocumentTable.lock`` does."""
        self._connections.lock(self._name)

    def sizes(self) -> TableSizes:
        """Return the bytes of the table: texts are measured on a sample."""
        query = f"""
            SELECT pg_total_relation_size(%s::regclass), (SELECT count(*) FROM {self._table}),
                coalesce(avg(octet_length(title) + octet_length(text)
                    + pg_column_size({_METADATA}) + coalesce(octet_length(original), 0)), 0)
            FROM (SELECT * FROM {self._table} LIMIT 1000) AS sample
        """
        total, n, text = self._rows(query, [self._table])[0]
        texts = min(int(total), round(float(text) * n))
        return TableSizes(int(total) - texts, texts, self._indexes.bytes())

    def _statement(
        self, stages: Sequence[Stage], k: int, condition: Compiled | None, *, indexed: bool
    ) -> Statement:
        return search_statement(
            self._table, self._vectors, stages, k, condition=condition, indexed=indexed
        )

    def _run(
        self, statement: Statement, queries: Embeddings, ef_search: int | None
    ) -> list[tuple[list[tuple[str, float, int]], int]]:
        """Return the rows and the number of candidates of each query."""

        def execute(connection: Any) -> list[list[tuple[str, float, int]]]:
            if ef_search is not None:
                self._indexes.use_ef_search(connection, ef_search)
            cursors = []
            if len(queries) == 1:
                cursor = connection.execute(statement.text, statement.parameters(queries[0]))
                return [cursor.fetchall()]
            with connection.pipeline():
                for query in queries:
                    cursors.append(connection.execute(statement.text, statement.parameters(query)))
            return [cursor.fetchall() for cursor in cursors]

        return [(rows, rows[0][2] if rows else 0) for rows in self._connections.run(execute)]

    def _at_most(self, condition: Compiled | None, limit: int) -> int:
        """Return the number of documents that match a condition, up to a limit."""
        text, values = condition or ("true", [])
        inner = f"SELECT 1 FROM {self._table} WHERE {text} LIMIT {limit}"
        return int(self._rows(f"SELECT count(*) FROM ({inner}) AS matching", values)[0][0])

    def _condition(self, where: Condition | None) -> Compiled | None:
        return None if where is None else compile_condition(where, _METADATA)

    def _existing(self, connection: Any, ids: Sequence[str]) -> set[str]:
        query = f"SELECT id FROM {self._table} WHERE id = ANY(%s)"
        known = [id_ for id_ in ids if "\0" not in id_]
        return {id_ for (id_,) in connection.execute(query, [known]).fetchall()}

    def _select(self, columns: str, ids: Sequence[str]) -> list[tuple[Any, ...]]:
        known = [id_ for id_ in ids if "\0" not in id_]
        return self._rows(f"SELECT {columns} FROM {self._table} WHERE id = ANY(%s)", [known])

    def _rows(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        def select(connection: Any) -> list[tuple[Any, ...]]:
            rows: list[tuple[Any, ...]] = connection.execute(query, values).fetchall()
            return rows

        return self._connections.run(select)

    def _upsert(self, source: str) -> str:
        """Return the statement that adds rows, and replaces those that differ.

        An unchanged row is not written: its old version would remain in the index of vectors.
        """
        assigned = ", ".join(f"{column} = excluded.{column}" for column in _CHANGED)
        changed = " OR ".join(_SAME.format(column=column) for column in _CHANGED)
        return (
            f"INSERT INTO {self._table} AS t SELECT * FROM {source} "
            f"ON CONFLICT (id) DO UPDATE SET {assigned} WHERE {changed}"
        )


def _examined(stages: Sequence[Stage], k: int) -> int:
    """Return the number of candidates that a search of the index reads at least."""
    wanted = stages[0].keep or k
    return wanted + wanted // 4 if orders_ties(stages) else wanted  # beyond it, it searches again


def _copy(
    connection: Any,
    target: str,
    kind: str,
    ids: Sequence[str],
    rows: Sequence[DocumentRow],
    vectors: NDArray[np.floating],
) -> None:
    from pgvector import HalfVector, Vector
    from psycopg.types.json import Jsonb

    wrap = HalfVector if kind == "halfvec" else Vector
    text = f"COPY {target} ({_COLUMNS}, embedding) FROM STDIN (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(text) as copy:
        copy.set_types(["text", "text", "text", "jsonb", "text", kind])
        for id_, row, vector in zip(ids, rows, vectors, strict=True):
            metadata = Jsonb(row.metadata, dumps=str)  # the value is JSON text already
            copy.write_row((id_, row.title, row.text, metadata, row.original, wrap(vector)))


def _array(vector: Any) -> Embeddings:
    return np.asarray(vector.to_numpy() if hasattr(vector, "to_numpy") else vector, np.float32)
