"""Search a table of PostgreSQL that other programs wrote, in one transaction that cannot write.

All searches and the exact pass see one state of the table, also while others change it. ``shrink``
changes such tables; ``engines.pgvector`` stores indexes of nestvec.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from nestvec.codec.codec import Codec
from nestvec.engines.filters.condition import Condition
from nestvec.engines.filters.postgresql import Compiled
from nestvec.errors import DataError, InvalidArgument, require
from nestvec.operate.exact import ExactSearch, LiveQueries, Metric, Observer, ScannedRows
from nestvec.operate.live.column_filters import compile_columns
from nestvec.operate.live.copied_rows import PART_BITS, copy_rows, ctid_text, other_width
from nestvec.operate.live.database import (
    ExactAnswers,
    SearchPath,
    Settings,
    TableSearch,
    Width,
    exact_answers,
)
from nestvec.operate.live.query_vectors import encode_queries
from nestvec.operate.live.shrunk import shrunk_search
from nestvec.operate.live.vector_indexes import fitting_index, read_indexes, used_index
from nestvec.operate.losses import plain_codec
from nestvec.sources.places import TABLE_PARAMETERS, Place
from nestvec.sources.postgresql import find_table, quoted, read_columns, transaction
from nestvec.sources.stream import ANY_COLUMNS
from nestvec.types import CodeKey, Embeddings, Encoder, OperatingPoint, Precision, Rows, Stage

OPERATORS: Mapping[Metric, str] = {"cosine": "<=>", "ip": "<#>", "l2": "<->"}
_PRECISIONS: Mapping[str, Precision] = {"vector": "float32", "halfvec": "float16"}
_WIDTHS = {"hnsw": ("hnsw.ef_search", 1_000), "ivfflat": ("ivfflat.probes", 32_768)}
_WIDER = (2, 4, 8, 16)  # times the width in use
_FETCHED = 5_000  # rows that are read by their place at a time
_LEAVES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text
FROM pg_partition_tree(%s::regclass) AS t JOIN pg_class AS c ON c.oid = t.relid
JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE t.isleaf ORDER BY c.oid
"""


@contextmanager
def open_table(url: str, search: TableSearch, model: Encoder | None) -> Iterator[LiveTable]:
    """Open a table; nothing is changed.

    Args:
        url: ``postgresql://HOST/DATABASE?table=TABLE``, optionally with ``id`` and ``vector``.
        search: How the table is searched.
        model: The model of the vectors, for queries that are texts.

    Raises:
        InvalidArgument: If the URL cannot be parsed or names no table.
        DataError: If the server refuses a statement, or the table cannot be checked.
        MissingExtra: If psycopg or pgvector's Python package is not installed.
    """
    place = Place.parse(url, TABLE_PARAMETERS)
    with transaction(place) as connection:
        register: Any = require("pgvector.psycopg", extra="pgvector").register_vector
        register(connection)
        connection.execute("SELECT '[1]'::vector <-> '[1]'::vector")  # loads its settings
        for name, value in search.settings.items():
            connection.execute("SELECT set_config(%s, %s, true)", [name, value])
        yield LiveTable(connection, place, search, model)


class LiveTable:
    """A table with a column of vectors, and the search of its users."""

    def __init__(
        self, connection: Any, place: Place, search: TableSearch, model: Encoder | None
    ) -> None:
        """Read the definitions of the table and of its indexes.

        Args:
            connection: A connection in a transaction.
            place: The URL.
            search: How the table is searched.
            model: The model of the vectors; None if no text is encoded.

        Raises:
            DataError: If the table is a view, has foreign partitions or no vectors, or its metric
                is not supported.
        """
        self._connection, self.place, self._model = connection, place.shown, model
        self._used: Settings = {}  # settings that differ from those of users
        self._initial: dict[str, str] = {}
        self._table = find_table(connection, place)
        columns = read_columns(connection, self._table)
        self._columns = tuple(columns)
        self._id, self._vector = self._chosen(place)
        self._kind, dim = columns[self._vector]
        if self._kind not in _PRECISIONS:
            problem = f"column {self._vector} has the type {self._kind}, not vector or halfvec."
            raise DataError(self.place, f"{problem} Name another column: &vector=COLUMN.")
        self._leaves = self._read_leaves()
        self._indexes = read_indexes(connection, self._table)
        self.dim = dim or self._width()
        self._index = fitting_index(self._indexes, self._vector, self.dim, search.metric)
        self.metric = self._metric(search)
        if not search.statement:
            shrunk = shrunk_search(connection, self._table, self._vector)
            search = search if shrunk is None else shrunk
        self._own = _numbered(search.statement)
        self.path = self._path(search)

    def encode(self, queries: list[str] | Embeddings) -> Embeddings:
        """Return the vectors of queries, as ``LiveDatabase.encode`` does."""
        return encode_queries(queries, self._model, dim=self.dim, place=self.place)

    def codec(self, key: CodeKey) -> Codec:
        """Return the codec of a representation, as ``LiveDatabase.codec`` does."""
        return plain_codec(key)

    def alternatives(self, *, short: bool) -> Sequence[Settings]:
        """Return wider searches; if searches are short, also scans that continue (pgvector 0.8)."""
        width = self.path.width
        if width is None:
            return []
        iterative = f"{width.name.partition('.')[0]}.iterative_scan"
        continued = {iterative: "relaxed_order"} if short else {}
        wider = (min(width.value * factor, width.largest) for factor in _WIDER)
        found = [{width.name: str(value)} for value in dict.fromkeys(wider) if value > width.value]
        return [*([continued] if continued else []), *({**continued, **each} for each in found)]

    def search(
        self, query: Embeddings, k: int, where: Condition | None, settings: Settings | None = None
    ) -> list[str]:
        """Return the ids of the best documents, as ``LiveDatabase.search`` does."""
        self._use(settings or {})
        text, values = self._search(query, k, where)
        return [str(row[0]) for row in self._run(text, values)][:k]

    def exact(self, queries: LiveQueries, k: int, observer: Observer | None = None) -> ExactAnswers:
        """Return the exact answers of all queries, as ``LiveDatabase.exact`` does."""
        search = ExactSearch(queries, k, self.metric)
        compiled = [compile_columns(each, self._columns) for each in queries.conditions]

        def add(block: ScannedRows) -> None:
            search.add(block)
            if observer is not None:
                observer(block)

        with ThreadPoolExecutor(1) as scoring:  # the next block is read meanwhile
            pending: Future[None] | None = None
            for block in self._scan(compiled):
                if pending is not None:
                    pending.result()
                pending = scoring.submit(add, block)
            if pending is not None:
                pending.result()
        found = search.result()
        return exact_answers(found, self._ids(np.unique(found.rows[found.rows >= 0])))

    def vectors(self, ids: Sequence[str]) -> Mapping[str, Embeddings]:
        """Return vectors by id; unknown ids are left out."""
        ((kind,),) = self._rows(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attname = %s",
            [self._table, self._id],
        )
        id_, vector = quoted(self._id), quoted(self._vector)
        statement = (
            f"SELECT {id_}::text, {vector} FROM {self._table} "
            f"WHERE {id_} = ANY(%s::text[]::{kind}[]) AND {vector} IS NOT NULL"
        )
        return {name: _values(value) for name, value in self._rows(statement, [list(ids)])}

    def vectors_of_rows(self, rows: Rows) -> Embeddings:
        """Return the vectors of rows that the exact pass has read, [n, dim]."""
        found = np.empty((len(rows), self.dim), dtype=np.float32)
        at = {int(row): number for number, row in enumerate(rows)}
        for name, value in self._by_place(rows, quoted(self._vector)):
            found[at[name]] = _values(value)
        return found

    def ids_of_rows(self, rows: Rows) -> list[str]:
        """Return the ids of rows that the exact pass has read, in the same order."""
        ids = self._ids(rows)
        return [ids[int(row)] for row in rows]

    def sample(self, n: int, seed: int) -> tuple[list[str], Embeddings]:
        """Return documents with the lowest hashes of their ids: a uniform sample."""
        id_, vector = quoted(self._id), quoted(self._vector)
        statement = (
            f"SELECT {id_}::text, {vector} FROM {self._table} WHERE {vector} IS NOT NULL "
            f"ORDER BY hashtextextended({id_}::text, %s), {id_} LIMIT %s"
        )
        rows = self._rows(statement, [seed, n])
        found = np.empty((len(rows), self.dim), dtype=np.float32)
        for number, (_, value) in enumerate(rows):
            values = _values(value)
            if len(values) != self.dim:
                raise other_width(self.place, self.dim, len(values))
            found[number] = values
        return [name for name, _ in rows], found

    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents that have a vector."""
        id_, vector = quoted(self._id), quoted(self._vector)
        with self._connection.cursor(name="nestvec_ids") as cursor:
            filled = f"FROM {self._table} WHERE {vector} IS NOT NULL"
            yield from (str(row[0]) for row in cursor.execute(f"SELECT {id_}::text {filled}"))

    def _use(self, settings: Settings) -> None:
        """Change settings of the session, and restore those of an earlier search."""
        if settings == self._used:
            return
        for name in settings.keys() | self._used.keys():
            if name not in self._initial:
                ((self._initial[name],),) = self._rows("SELECT current_setting(%s)", [name])
            value = settings.get(name, self._initial[name])
            self._rows("SELECT set_config(%s, %s, true)", [name, value])
        self._used = settings

    def _chosen(self, place: Place) -> tuple[str, str]:
        given, names = place.parameters, list(self._columns)
        columns = ANY_COLUMNS
        if "id" in given or "vector" in given:
            columns = type(columns)(given.get("id"), given.get("vector"))
        ids, vectors = columns.find(names, self.place)
        if ids is None:
            raise InvalidArgument(f"{self.place}: name the column of the ids: &id=COLUMN.")
        return ids, vectors

    def _read_leaves(self) -> list[str]:
        ((kind,),) = self._rows(
            "SELECT relkind::text FROM pg_class WHERE oid = %s::regclass", [self._table]
        )
        if kind not in "rpm":
            problem = "is a view or a foreign table, whose rows have no place of their own."
            raise DataError(self.place, f"{problem} Name the table that has the index.")
        leaves = [(self._table, kind)]
        if kind == "p":
            leaves = list(self._rows(_LEAVES, [self._table]))
        if any(kind == "f" for _, kind in leaves):
            problem = "has partitions on other servers. Check each of these servers instead."
            raise DataError(self.place, problem)
        return [leaf for leaf, _ in leaves]

    def _width(self) -> int:
        """Return the number of dimensions of the first vector of an untyped column."""
        vector = quoted(self._vector)
        rows = self._rows(
            f"SELECT vector_dims({vector}) FROM {self._table} WHERE {vector} IS NOT NULL LIMIT 1",
            [],
        )
        if not rows:
            raise DataError(self.place, "has no vectors. Add documents first.")
        return int(rows[0][0])

    def _metric(self, search: TableSearch) -> Metric:
        if search.metric is not None:
            return search.metric
        if self._index is None:
            return "cosine"
        if self._index.metric is None:
            problem = f"the index {self._index.name} uses {self._index.operator_class}."
            remedy = "Pass the metric of the search: cosine, ip or l2."
            raise DataError(self.place, f"{problem} {remedy}")
        return self._index.metric

    def _path(self, search: TableSearch) -> SearchPath:
        query = np.zeros(self.dim, dtype=np.float32)
        query[0] = 1
        text, values = self._search(query, 10, None)
        plan = self._run(f"EXPLAIN (FORMAT JSON) {text}", values)[0][0][0]["Plan"]
        index = used_index(plan, self._indexes)
        point = search.point
        if not self._own:
            precision = _PRECISIONS[self._kind]
            if index is not None and not index.is_plain:
                precision = "float16"
            point = OperatingPoint((Stage(self.dim, precision),))
        name = "" if index is None else f"{index.name} ({index.method})"
        if self._own and index is None:  # a function hides the plan of its statement
            name = " ".join(self._own.split())
        width = None if index is None else self._setting(index.method)
        unused = ""
        if not self._own and index is None and self._index is not None:
            unused = f"{self._index.name} ({self._index.method})"
        return SearchPath(name, point, width, unused)

    def _setting(self, method: str) -> Width:
        name, largest = _WIDTHS[method]
        ((value,),) = self._rows("SELECT current_setting(%s)", [name])
        return Width(name, int(value), largest)

    def _search(self, query: Embeddings, k: int, where: Condition | None) -> Compiled:
        from pgvector import Vector

        if self._own:
            if where is not None:
                problem = f"the log has filters, but {self.path.index} has no place for a filter."
                raise InvalidArgument(f"{problem} Remove the column of filters from the log.")
            return self._own, [Vector(query), k][: 1 + ("$2" in self._own)]
        column = quoted(self._vector)
        expression, kind = f"t.{column}", self._kind
        if self._index is not None and not self._index.is_plain:
            expression, kind = f"(t.{column}::halfvec({self.dim}))", "halfvec"
        text, values = ("", []) if where is None else compile_columns(where, self._columns)
        operator = f"{OPERATORS[self.metric]} %s::{kind}({self.dim})"
        statement = (
            f"SELECT t.{quoted(self._id)}::text FROM {self._table} AS t "
            f"{f'WHERE {text} ' if text else ''}ORDER BY {expression} {operator} LIMIT %s"
        )
        return statement, [*values, Vector(query), k]

    def _scan(self, conditions: Sequence[Compiled]) -> Iterator[ScannedRows]:
        for part, leaf in enumerate(self._leaves):
            yield from copy_rows(
                self._connection,
                leaf,
                quoted(self._vector),
                kind=self._kind,
                dim=self.dim,
                conditions=conditions,
                part=part,
                shown=self.place,
            )

    def _ids(self, rows: Rows) -> Mapping[int, str]:
        return dict(self._by_place(rows, f"{quoted(self._id)}::text"))

    def _by_place(self, rows: Rows, column: str) -> Iterator[tuple[int, Any]]:
        """Yield the number of each row, and the value of a column."""
        parts = rows >> PART_BITS
        for part in np.unique(parts):
            own = rows[parts == part]
            for start in range(0, len(own), _FETCHED):
                some = own[start : start + _FETCHED]
                places = {ctid_text(int(row)): int(row) for row in some}
                statement = (
                    f"SELECT ctid::text, {column} FROM ONLY {self._leaves[part]} "
                    "WHERE ctid = ANY(%s::tid[])"
                )
                for place, value in self._rows(statement, [list(places)]):
                    yield places[place], value

    def _rows(self, statement: str, values: Sequence[Any]) -> list[Any]:
        found: list[Any] = self._connection.execute(statement, values).fetchall()
        return found

    def _run(self, text: str, values: Sequence[Any]) -> list[Any]:
        """Run a search; the statement of a user has numbered parameters."""
        if not self._own:
            return self._rows(text, values)
        psycopg: Any = require("psycopg", extra="pgvector")
        found: list[Any] = psycopg.RawCursor(self._connection).execute(text, values).fetchall()
        return found


def _numbered(statement: str) -> str:
    """Return the statement of a user, checked for its parameters.

    Raises:
        InvalidArgument: If it does not use ``$1``, or uses others than ``$1`` and ``$2``.
    """
    text = statement.strip().rstrip(";").strip()
    numbers = {int(each) for each in re.findall(r"\$(\d+)", text)}
    if text and (1 not in numbers or numbers - {1, 2}):
        found = ", ".join(f"${number}" for number in sorted(numbers)) or "none"
        problem = f"the statement has the parameters {found}."
        raise InvalidArgument(
            f"{problem} Write $1 for the query vector and $2 for the number of documents."
        )
    return text


def _values(value: Any) -> Embeddings:
    """Return a vector of pgvector as float32 [dim]."""
    numbers = value if isinstance(value, np.ndarray) else value.to_numpy()
    return np.asarray(numbers, dtype=np.float32)
