"""The indexes of one database of Milvus: their records and their collections."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from typing import Self

from nestvec.engines.milvus import collections
from nestvec.engines.milvus.connection import CALL_S, Connection, MissingCollection
from nestvec.engines.milvus.location import Location
from nestvec.engines.milvus.prefixes import PrefixCollections
from nestvec.engines.milvus.records import Records, moved
from nestvec.engines.milvus.table import MilvusTable
from nestvec.engines.table_engine import UNFINISHED
from nestvec.engines.tables import DocumentTables, Record
from nestvec.errors import InvalidArgument
from nestvec.sources.milvus_collections import RECORDS

WIDEST = 32_768
"""The widest vectors of Milvus."""


class MilvusTables(DocumentTables):
    """A connection to a database of Milvus, and the name of one index in it.

    The documents of an index are in a collection of a new name, so that an index is replaced by
    one change of its record.
    """

    def __init__(self, connection: Connection) -> None:
        """Use an open connection."""
        self._connection, self._records = connection, Records(connection)
        self.shown, self.name = connection.shown, connection.location.name
        self._names: dict[str, str] = {}  # of indexes, by table

    @classmethod
    def connect(cls, url: str) -> Self:
        """Connect to a server or a file, as ``DocumentTables.connect`` does."""
        return cls(Connection(Location.parse(url)))

    def read(self, name: str) -> Record | None:
        """Return the record of an index; None if there is no index of this name."""
        record = self._records.read(name)
        if record is not None:
            self._names[record.table] = name
        return record

    def write(self, name: str, record: Record) -> None:
        """Write the record of an index; an existing record is replaced."""
        self._records.write(name, record)

    def create(self, name: str, record: Record) -> None:
        """Create the empty collection of an index, and write its record."""
        full_dim = record.manifest.model.full_dim
        if full_dim > WIDEST:
            problem = f"vectors of {full_dim:,} dims are wider than the {WIDEST:,} of Milvus."
            raise InvalidArgument(f"{problem} Truncate the vectors before indexing.")
        self._records.create()
        table = f"{name.removesuffix(UNFINISHED)}_{secrets.token_hex(4)}"
        collections.create_documents(self._connection, table, full_dim)
        dim, loaded = record.manifest.point.stages[0].dim, [table]
        if dim < full_dim:
            prefixes = PrefixCollections(self._connection, self._records, table, full_dim)
            loaded.append(prefixes.create(dim))
            self._records.publish(table, dim, loaded[-1])
        for each in loaded:
            collections.load(self._connection, each)
        self._records.write(name, moved(record, table))

    def open(self, record: Record) -> MilvusTable:
        """Open the collections of an index.

        Raises:
            DataError: If a collection is missing.
        """
        collections.load(self._connection, record.table)
        for each in self._of(record.table):
            with suppress(MissingCollection):  # another process has dropped it
                collections.load(self._connection, each)
        table = MilvusTable(self._connection, self._records, record)
        name = self._names.get(record.table)
        table.reread = lambda: None if name is None else self.read(name)
        table.is_unfinished = name is not None and name.endswith(UNFINISHED)
        return table

    def drop(self, name: str) -> None:
        """Delete the record and the collections of an index."""
        record = self._records.read(name)
        if record is not None:
            self._records.remove(name)
            self._drop_table(record.table)

    def replace(self, name: str, by: str) -> None:
        """Give an index the name of another index, by one new version of its record.

        A crash afterwards leaves collections of the former index; the next call drops them.
        """
        new = self._records.read(by)
        if new is None:
            return
        self._records.write(name, new)
        self._records.remove(by)
        used = self._records.tables()
        own = re.compile(f"{name}_[0-9a-f]{{8}}")
        for table in filter(own.fullmatch, self._all()):
            if table not in used:
                self._drop_table(table)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _drop_table(self, table: str) -> None:
        if table not in self._records.tables():
            for each in self._of(table):
                self._records.withdraw(each)
                collections.drop(self._connection, each)
            collections.drop(self._connection, table)

    def _of(self, table: str) -> list[str]:
        """Return the names of the collections of prefixes of a table."""
        return [name for name in self._all() if name.startswith(f"{table}_p")]

    def _all(self) -> list[str]:
        names = self._connection.run(lambda client: client.list_collections(timeout=CALL_S))
        return [str(name) for name in names if name != RECORDS]
