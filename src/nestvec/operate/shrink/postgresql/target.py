"""The table that is shrunk: its columns, its key, and the present index of its vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

from nestvec.errors import DataError
from nestvec.operate.shrink.postgresql.session import ShrinkSession
from nestvec.operate.shrink.request import Metric
from nestvec.sources.places import Place
from nestvec.sources.postgresql import TableColumn, find_table, quoted, read_columns
from nestvec.sources.stream import VECTOR_COLUMNS

_METRIC_OF: dict[str, Metric] = {"cosine": "cosine", "ip": "ip", "l2": "l2"}
_CLASSES = "vector", "halfvec"
_RELATION = """
SELECT n.nspname, c.relname, c.relkind, c.oid::bigint, pg_relation_size(c.oid), a.attnotnull
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = %s WHERE c.oid = %s
"""
_KEY = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_index AS i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
WHERE i.indrelid = %s AND i.indisprimary ORDER BY k.place
"""
_TYPE = """
SELECT format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = %s AND attname = %s AND NOT attisdropped
"""
_INDEXES = """
SELECT n.nspname, c.relname, pg_get_indexdef(c.oid), pg_get_indexdef(c.oid, 1, false), o.opcname,
    t.typname, a.atttypmod, i.indisvalid
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_am AS m ON m.oid = c.relam AND m.amname IN ('hnsw', 'ivfflat')
JOIN pg_opclass AS o ON o.oid = i.indclass[0]
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = 1
JOIN pg_type AS t ON t.oid = a.atttypid
WHERE i.indrelid = %s AND i.indpred IS NULL AND (
    i.indkey[0] = (SELECT attnum FROM pg_attribute WHERE attrelid = i.indrelid AND attname = %s)
    OR EXISTS (SELECT FROM pg_depend AS d JOIN pg_attribute AS v
        ON v.attrelid = i.indrelid AND v.attnum = d.refobjsubid
        WHERE d.objid = i.indexrelid AND d.refobjid = i.indrelid AND v.attname = %s))
ORDER BY c.relname
"""


@dataclass(frozen=True)
class PresentIndex:
    """An index that serves the present searches.

    Attributes:
        name: The quoted name with its schema.
        definition: The statement that creates the index.
        expression: The SQL of the indexed vectors.
        kind: The type of the indexed vectors: "vector" or "halfvec".
        metric: The metric of its operator class.
    """

    name: str
    definition: str
    expression: str
    kind: str
    metric: Metric

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Create an index from the values of ``to_json``."""
        return cls(**values)

    def concurrent_definition(self) -> str:
        """Return the statement that creates the index while the table is in use."""
        return self.definition.replace("CREATE INDEX ", "CREATE INDEX CONCURRENTLY ", 1)


class KeyColumn(NamedTuple):
    """A column that identifies rows: its name, and its type in SQL."""

    name: str
    kind: str


@dataclass(frozen=True)
class ShrinkTable:
    """A table with a column of vectors.

    Attributes:
        schema: The name of its schema.
        name: Its name.
        oid: Its number in the catalog.
        relkind: The kind of the relation, as ``pg_class`` has it.
        vector: The name of the column of vectors.
        kind: The type of the column.
        dim: The width that the column states; 0 if it states none.
        not_null: Whether the column cannot be NULL.
        key: The columns of the primary key; empty if there is none.
        ids: The columns that the search function returns as ids.
        size: Bytes of the table without its indexes and long values.
        columns: All columns, by name.
        indexes: The complete indexes of the vectors at full width.
        others: Names of other indexes of the column of vectors, which no search needs to use.
        extension_schema: The quoted name of the schema of pgvector.
    """

    schema: str
    name: str
    oid: int
    relkind: str
    vector: str
    kind: str
    dim: int
    not_null: bool
    key: tuple[KeyColumn, ...]
    ids: tuple[KeyColumn, ...]
    size: int
    columns: Mapping[str, TableColumn]
    indexes: tuple[PresentIndex, ...]
    others: tuple[str, ...]
    extension_schema: str

    @property
    def sql(self) -> str:
        """The quoted name with its schema."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def column(self) -> str:
        """The quoted name of the column of vectors."""
        return quoted(self.vector)

    def qualified(self, name: str) -> str:
        """Return the quoted name of another object in the schema of the table."""
        return f"{quoted(self.schema)}.{quoted(name)}"


def locate_table(session: ShrinkSession, place: Place) -> tuple[int, str]:
    """Return the number of a table in the catalog, and its name with its schema.

    Raises:
        InvalidArgument: If the URL names no table.
        DataError: If there is no such table.
    """
    query = """SELECT c.oid::bigint, n.nspname || '.' || c.relname FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s::regclass"""
    oid, name = session.row(query, [find_table(session.connection, place)])
    return oid, name


def read_table(
    session: ShrinkSession, place: Place, oid: int, extension_schema: str
) -> ShrinkTable:
    """Read a table from the catalog.

    Args:
        session: The connection.
        place: The URL, which can name columns.
        oid: The number of the table.
        extension_schema: The quoted name of the schema of pgvector.

    Raises:
        DataError: If there is no such column.
    """
    found = read_columns(session.connection, str(oid))
    given = place.parameters
    vector = _column(place, found, "vector")
    session.use_schema(extension_schema)  # from here on, names are qualified
    row = session.row(_RELATION, [vector, oid])
    schema, name, relkind, _, size, not_null = row
    key = tuple(KeyColumn(*each) for each in session.rows(_KEY, [oid]))
    ids = key
    if "id" in given:
        name_of_id = _column(place, found, "id")
        ids = (KeyColumn(name_of_id, session.row(_TYPE, [oid, name_of_id])[0]),)
    kind, dim = found[vector]
    indexes, others = _indexes(session, oid, vector, dim)
    return ShrinkTable(
        *(schema, name, oid, relkind, vector, kind, dim, bool(not_null), key, ids, size, found),
        *(indexes, others, extension_schema),
    )


def _column(place: Place, found: Mapping[str, TableColumn], parameter: str) -> str:
    """Return the column that a parameter of the URL names, or that has a usual name.

    Raises:
        DataError: If there is no such column.
    """
    given = place.parameters.get(parameter)
    names = (given,) if given is not None else VECTOR_COLUMNS
    for name in names:
        if name in found:
            return name
    problem = f"the table has no column {' or '.join(names)}, only {', '.join(found)}."
    raise DataError(place.shown, f"{problem} Name the column: ?{parameter}=NAME.")


def _indexes(
    session: ShrinkSession, oid: int, vector: str, dim: int
) -> tuple[tuple[PresentIndex, ...], tuple[str, ...]]:
    """Return the complete indexes at full width, and the names of all others."""
    indexes, others = [], []
    for row in session.rows(_INDEXES, [oid, vector, vector]):
        schema, name, definition, expression, operators, kind, width, valid = row
        metric = _metric(operators)
        if metric is None or kind not in _CLASSES or width not in (dim, -1) or not valid:
            others.append(name)
            continue
        full_name = f"{quoted(schema)}.{quoted(name)}"
        indexes.append(PresentIndex(full_name, definition, expression, kind, metric))
    return tuple(indexes), tuple(others)


def _metric(operator_class: str) -> Metric | None:
    """Return the metric of an operator class, such as ``vector_cosine_ops``.

    >>> _metric("vector_cosine_ops"), _metric("halfvec_l1_ops"), _metric("bit_hamming_ops")
    ('cosine', None, None)
    """
    kind, _, rest = operator_class.partition("_")
    return _METRIC_OF.get(rest.removesuffix("_ops")) if kind in _CLASSES else None
