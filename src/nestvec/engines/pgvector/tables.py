"""Records of indexes in the schema ``nestvec``, and the tables of their documents."""

from __future__ import annotations

import json
from typing import Any, Self

from nestvec.engines.manifest import Manifest
from nestvec.engines.pgvector.connection import Connections
from nestvec.engines.pgvector.failures import is_missing_table
from nestvec.engines.pgvector.statements import TYPES, VectorColumn
from nestvec.engines.pgvector.table import PostgresTable
from nestvec.engines.places import check_name
from nestvec.engines.tables import NO_INDEX, DocumentTables, Record
from nestvec.errors import DataError, InvalidArgument
from nestvec.sources.places import TABLE_PARAMETERS, Place
from nestvec.sources.postgresql import quoted

DEFAULT_TABLE = "documents"
_RECORDS = """
CREATE SCHEMA IF NOT EXISTS nestvec;
CREATE TABLE IF NOT EXISTS nestvec.indexes (
    name text PRIMARY KEY,
    table_name text NOT NULL,
    manifest text NOT NULL,
    adapter bytea,
    source text NOT NULL
)
"""
_DOCUMENTS = """
CREATE TABLE {table} (
    id text COLLATE "C" PRIMARY KEY,
    title text NOT NULL,
    text text NOT NULL,
    metadata jsonb NOT NULL,
    original text,
    embedding {kind}({full_dim}) NOT NULL
);
ALTER TABLE {table} ALTER COLUMN embedding SET STORAGE PLAIN;
CREATE INDEX ON {table} USING gin (metadata)
"""
_PLAIN_BYTES = 6_000  # a row must fit into a page of 8 kB


class PostgresTables(DocumentTables):
    """A connection to a database, and the name of one table of documents in it."""

    def __init__(self, connections: Connections, place: Place, name: str) -> None:
        """Use open connections."""
        self._connections, self.shown, self.name = connections, place.shown, name
        self._columns = [each for each in place.parameters if each != "table"]

    @classmethod
    def connect(cls, url: str) -> Self:
        """Connect to a database, as ``DocumentTables.connect`` does.

        The parameter ``table`` of the URL names the table: ``postgresql://host/db?table=docs``.
        """
        place = Place.parse(url, TABLE_PARAMETERS)
        name = check_name(place.parameters.get("table", DEFAULT_TABLE), "table")
        return cls(Connections(place.url, place.shown), place, name)

    def why_missing(self, name: str) -> str:
        """Return why there is no index: a table that other programs wrote is named as such."""
        if not self._connections.run(lambda connection: _table_exists(connection, name)):
            return NO_INDEX
        return (
            f"table {name} is not an index of nestvec: it has no manifest. Measure its vectors "
            "with nestvec evaluate, or convert them with nestvec convert and build an index."
        )

    def read(self, name: str) -> Record | None:
        """Return the record of an index; None if there is no index of this name."""

        def select(connection: Any) -> tuple[Any, ...] | None:
            columns = "table_name, manifest, adapter, source"
            query = f"SELECT {columns} FROM nestvec.indexes WHERE name = %s"
            try:
                row: tuple[Any, ...] | None = connection.execute(query, [name]).fetchone()
            except Exception as error:
                if not is_missing_table(error):
                    raise
                return None
            return row

        row = self._connections.run(select)
        if row is None:
            return None
        table, manifest, adapter, source = row
        where = f"{self.shown} (nestvec.indexes, {name})"
        return Record(Manifest.from_json(manifest, where), table, adapter, json.loads(source))

    def write(self, name: str, record: Record) -> None:
        """Write the record of an index; an existing record is replaced."""
        self._connections.transact(
            lambda connection: _write(connection, name, record), index=record.table
        )

    def lock(self, name: str) -> None:
        """Prevent changes by other processes, as ``DocumentTables.lock`` does."""
        self._connections.lock(name)

    def create(self, name: str, record: Record) -> None:
        """Create the empty table of an index, and write its record."""
        model, stored = record.manifest.model, record.manifest.stored
        if self._columns:
            names = ", ".join(self._columns)
            problem = f"{self.shown}: an index has its own columns, so {names} cannot be chosen."
            raise InvalidArgument(f"{problem} Remove these parameters of the URL.")

        def create(connection: Any) -> None:
            self._check_unused(connection, record.table)
            if record.source:  # a build, whose table gets the final name when it is complete
                self._check_unused(connection, self.name)
            kind = TYPES[stored]
            text = _DOCUMENTS.format(table=quoted(record.table), kind=kind, full_dim=model.full_dim)
            statements = text.split(";")
            if model.full_dim * (2 if stored == "float16" else 4) > _PLAIN_BYTES:
                statements = [each for each in statements if "STORAGE" not in each]
            for statement in statements:
                connection.execute(statement)
            _write(connection, name, record)

        self._connections.transact(create)

    def open(self, record: Record) -> PostgresTable:
        """Open the table of an index."""
        manifest = record.manifest
        vectors = VectorColumn(quoted("embedding"), manifest.stored, manifest.model.full_dim)
        return PostgresTable(self._connections, record.table, vectors, manifest)

    def drop(self, name: str) -> None:
        """Delete the record and the table of an index."""
        record = self.read(name)
        if record is not None:
            self._connections.transact(lambda connection: _drop(connection, name, record.table))

    def replace(self, name: str, by: str) -> None:
        """Give an index the name of another index, which is dropped, in one transaction."""
        former, new = self.read(name), self.read(by)

        def replace(connection: Any) -> None:
            if former is not None:
                _drop(connection, name, former.table)
            else:
                self._check_unused(connection, name)
            if new is not None:
                rename = f"ALTER TABLE {quoted(new.table)} RENAME TO {quoted(name)}"
                connection.execute(rename)
                connection.execute(
                    "UPDATE nestvec.indexes SET name = %s, table_name = %s WHERE name = %s",
                    [name, name, by],
                )

        self._connections.transact(replace)

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()

    def _check_unused(self, connection: Any, name: str) -> None:
        """Check that no other program has written a table of this name.

        Raises:
            DataError: If there is such a table.
        """
        if _table_exists(connection, name) and not _is_recorded(connection, name):
            problem = f"table {name} exists, and is not an index of nestvec."
            raise DataError(self.shown, f"{problem} Choose another table with ?table=NAME.")


def _write(connection: Any, name: str, record: Record) -> None:
    for statement in _RECORDS.split(";"):
        connection.execute(statement)
    manifest, source = json.dumps(record.manifest.to_json()), json.dumps(dict(record.source))
    connection.execute(
        "INSERT INTO nestvec.indexes (name, table_name, manifest, adapter, source) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET "
        "table_name = excluded.table_name, manifest = excluded.manifest, "
        "adapter = excluded.adapter, source = excluded.source",
        [name, record.table, manifest, record.adapter, source],
    )


def _is_recorded(connection: Any, table: str) -> bool:
    (known,) = connection.execute("SELECT to_regclass('nestvec.indexes')").fetchone()
    query = "SELECT 1 FROM nestvec.indexes WHERE table_name = %s"
    return known is not None and connection.execute(query, [table]).fetchone() is not None


def _drop(connection: Any, name: str, table: str) -> None:
    connection.execute(f"DROP TABLE IF EXISTS {quoted(table)}")
    connection.execute("DELETE FROM nestvec.indexes WHERE name = %s", [name])


def _table_exists(connection: Any, name: str) -> bool:
    (found,) = connection.execute("SELECT to_regclass(%s)", [quoted(name)]).fetchone()
    return found is not None
