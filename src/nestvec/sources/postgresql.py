"""Read vectors from a table of PostgreSQL that other programs wrote.

The URL names the table and its columns:
``postgresql://host/database?table=docs&id=key&vector=embedding``. The table is read in one
transaction that cannot write, through a cursor of the server, in bounded memory. The rows are in
the order of their ids, so that two reads of an unchanged table return the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.sample import Draw
from nestvec.errors import DataError, InvalidArgument, first_line, require
from nestvec.sources.ids import as_id
from nestvec.sources.places import TABLE_PARAMETERS, Place
from nestvec.sources.stream import REMEDY, Block, Columns, FloatType, VectorStream, block_rows

CONNECT_S = 10
_SCHEME = re.compile(r"postgres(ql)?://", re.IGNORECASE)
_NUMBERS = {"vector": ">f4", "halfvec": ">f2"}  # as pgvector sends them
_HEADER = 4  # bytes before the numbers of a vector: the dim, and two that are unused
_WIDEST = 16_000  # dims of a column that states none
_COLUMNS = """
SELECT a.attname, t.typname, a.atttypmod FROM pg_attribute AS a JOIN pg_type AS t
ON t.oid = a.atttypid WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


class TableColumn(NamedTuple):
    """The name of the type of a column, and the width that the type states (0 if none)."""

    kind: str
    dim: int


class _Query(NamedTuple):
    """The statement that reads the ids and vectors of a table.

    Attributes:
        text: SQL that returns a vector and, unless rows are numbered, an id as text.
        table: The quoted name of the table.
        ids: The quoted name of the column of ids; "" if rows are numbered.
        kind: The type of the vectors: "vector" or "halfvec".
        dim: The width that the column states; 0 if it states none.
    """

    text: str
    table: str
    ids: str
    kind: str
    dim: int

    @property
    def numbered(self) -> bool:
        """Whether the ids are row numbers."""
        return not self.ids


def is_postgresql(place: object) -> bool:
    """Return whether a place is a URL of PostgreSQL."""
    return isinstance(place, str) and _SCHEME.match(place) is not None


def open_postgresql(url: str, columns: Columns) -> VectorStream:
    """Open a table or a view; its rows are read when the stream is read.

    Args:
        url: The URL with the parameter ``table`` and optionally ``id`` and ``vector``, the names of
            columns.
        columns: Names of the columns if the URL does not contain them.

    Raises:
        InvalidArgument: If the URL cannot be parsed, or names no table.
        DataError: If the server cannot be reached, or there is no such table or column.
        MissingExtra: If psycopg is not installed.
    """
    place = Place.parse(url, TABLE_PARAMETERS)
    chosen = columns.named_in(place.parameters)
    with transaction(place) as connection:
        query = _query(connection, place, chosen)

    dtype: FloatType = np.dtype(np.float16 if query.kind == "halfvec" else np.float32)
    stream = _stream(place, query, dtype)

    def draw(draw: Draw) -> tuple[int, VectorStream]:
        with transaction(place) as connection:
            total = _count(connection, query, place.shown)
        return total, _stream(place, _sampled(query, draw), dtype)

    return stream if query.numbered else replace(stream, draw=draw)


def _stream(place: Place, query: _Query, dtype: FloatType) -> VectorStream:
    def read() -> Iterator[Block]:
        with transaction(place) as connection:
            yield from _blocks(connection, query, place.shown)

    return VectorStream(place.shown, dtype, read, numbered=query.numbered)


def _count(connection: Any, query: _Query, shown: str) -> int:
    """Return the number of rows.

    Raises:
        DataError: If a row has no id.
    """
    text = f"SELECT count(*), count({query.ids}) FROM {query.table}"  # noqa: S608 - names are quoted
    total, named = connection.execute(text).fetchone()
    if named < total:
        raise DataError(shown, f"{total - named:,} of {total:,} rows have no id (NULL).")
    return int(total)


def _sampled(query: _Query, draw: Draw) -> _Query:
    """Return the statement that reads a sample: the rows with the smallest hashes of their ids.

    The server sorts only hashes and ids, and then reads the vectors of the sample.
    """
    ids = f"s.{query.ids}"
    order = f"hashtextextended({ids}::text, {int(draw.seed)}), {ids}"
    chosen = f"SELECT {ids} FROM {query.table} AS s ORDER BY {order} LIMIT {int(draw.rows)}"  # noqa: S608 - names are quoted
    before, _, after = query.text.rpartition(" ORDER BY ")
    text = f"{before} JOIN ({chosen}) AS drawn ON drawn.{query.ids} = t.{query.ids}"
    return query._replace(text=f"{text} ORDER BY {after}")


def quoted(name: str) -> str:
    """Return an identifier in quotes, for SQL."""
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def transaction(place: Place) -> Iterator[Any]:
    """Connect, and read one state of the database; errors have one line and no password.

    Raises:
        InvalidArgument: If psycopg cannot parse the URL.
        DataError: If the server cannot be reached, or refuses a statement.
        MissingExtra: If psycopg is not installed.
    """
    psycopg: Any = require("psycopg", extra="pgvector")
    try:
        psycopg.conninfo.conninfo_to_dict(place.url)
    except psycopg.ProgrammingError:  # its message can contain the password
        problem = f"{place.shown} is not a connection URL of PostgreSQL."
        remedy = "Write postgresql://USER@HOST:PORT/DATABASE?table=TABLE."
        raise InvalidArgument(f"{problem} {remedy}") from None
    try:
        with psycopg.connect(place.url, connect_timeout=CONNECT_S) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute("SET LOCAL synchronize_seqscans = off")  # row numbers must not vary
            yield connection
    except psycopg.Error as error:
        raise DataError(place.shown, f"{first_line(error).rstrip('.')}.") from None


def _query(connection: Any, place: Place, columns: Columns) -> _Query:
    table = find_table(connection, place)
    found = read_columns(connection, table)
    of_vectors = [name for name, column in found.items() if column.kind in _NUMBERS]
    ids, vectors = columns.find(list(found), place.shown, of_vectors=of_vectors)
    kind, dim = found[vectors]
    if kind not in _NUMBERS:
        problem = f"column {vectors} has the type {kind}, not vector or halfvec."
        remedy = f"Create a view that converts the column: {vectors}::vector(DIM)."
        raise DataError(place.shown, f"{problem} {remedy}")
    if ids is None:
        text = f"SELECT {quoted(vectors)} FROM {table}"  # noqa: S608 - names are quoted
    else:
        names = f"t.{quoted(vectors)}, t.{quoted(ids)}::text"  # the text has the column's name
        text = f"SELECT {names} FROM {table} AS t ORDER BY t.{quoted(ids)}"  # noqa: S608 - as above
    return _Query(text, table, "" if ids is None else quoted(ids), kind, dim)


def find_table(connection: Any, place: Place) -> str:
    """Return the quoted name of the table of a URL, which can contain the name of a schema.

    Raises:
        InvalidArgument: If the URL names no table.
        DataError: If there is no such table.
    """
    name = place.parameters.get("table", "")
    if not name:
        problem = f"{place.shown} names no table."
        raise InvalidArgument(f"{problem} Write postgresql://HOST/DATABASE?table=TABLE.")
    schema, _, rest = name.partition(".")
    candidates = [quoted(name)] + ([f"{quoted(schema)}.{quoted(rest)}"] if schema and rest else [])
    for candidate in candidates:
        (known,) = connection.execute("SELECT to_regclass(%s)::oid", [candidate]).fetchone()
        if known is not None:
            return candidate
    problem = f"contains no table {name}. Check the name, also its upper and lower case."
    raise DataError(place.shown, problem)


def read_columns(connection: Any, table: str) -> Mapping[str, TableColumn]:
    """Return the columns of a table or a view, in their order, by name."""
    rows = connection.execute(_COLUMNS, [table]).fetchall()
    return {name: TableColumn(kind, max(0, modifier)) for name, kind, modifier in rows}


def _blocks(connection: Any, query: _Query, shown: str) -> Iterator[Block]:
    start, dim = 0, query.dim
    size = block_rows(dim or _WIDEST)
    with connection.cursor("nestvec_vectors", binary=True) as cursor:
        cursor.execute(query.text, binary=True)
        while rows := cursor.fetchmany(size):
            ids = None
            if not query.numbered:
                ids = [as_id(id_, shown, start + n) for n, (_, id_) in enumerate(rows)]
            block = Block(shown, start, ids, np.empty(0))
            values = _matrix([row[0] for row in rows], query.kind, dim, block)
            yield block._replace(values=values)
            start, dim = start + len(rows), values.shape[1]


def _matrix(
    vectors: Sequence[bytes | None], kind: str, dim: int, block: Block
) -> NDArray[np.floating[Any]]:
    """Return the vectors of a block, [n, dim], from the bytes that the server sends.

    Raises:
        DataError: If a vector is missing, or has another dim than the first.
    """
    item = np.dtype(_NUMBERS[kind])
    expected = dim or (0 if vectors[0] is None else (len(vectors[0]) - _HEADER) // item.itemsize)
    for row, vector in enumerate(vectors):
        width = None if vector is None else (len(vector) - _HEADER) // item.itemsize
        if width != expected:
            name = f"of row {row}" if block.ids is None else f"of id {block.ids[row]!r}"
            problem = f"has {width} numbers, but the first has {expected}"
            problem = "is missing (NULL)" if width is None else problem
            raise DataError(block.path, f"the vector {name} {problem}. {REMEDY}")
    record = np.dtype([("head", f"V{_HEADER}"), ("numbers", item, (expected,))])
    joined = b"".join(vector for vector in vectors if vector is not None)
    return np.frombuffer(joined, record)["numbers"].astype(item.newbyteorder("="))
