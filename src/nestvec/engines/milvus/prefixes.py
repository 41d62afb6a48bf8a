"""The prefixes of a table: one collection for each width that a first stage searches.

A collection of prefixes is named after its table and width, and is used once a record says that it
is complete. Every change is written to the documents first and to all collections of prefixes
afterwards. The journal has the keys of changes that have begun; ``repair`` completes those of a
process that ended.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np

from nestvec.codec.prefix import prefix
from nestvec.engines.filters.milvus import ORDERED, TOKENS
from nestvec.engines.milvus import collections
from nestvec.engines.milvus.collections import EMBEDDING, ID
from nestvec.engines.milvus.connection import CALL_S, Connection, MissingCollection
from nestvec.engines.milvus.documents import Rows, block_size
from nestvec.engines.milvus.records import Entry, Records
from nestvec.engines.milvus.rows import Row, prefix_rows
from nestvec.types import Embeddings

ABANDONED_S = 180.0
"""Age of a journal entry whose process has ended: longer than any call with its retries."""
_POLL_S = 0.2
_KNOWN_S = 5.0
_WIDTH = re.compile(r"_p(?P<dim>[0-9]+)_[0-9a-f]{8}$")
_COPIED = (EMBEDDING, TOKENS, ORDERED)


class PrefixCollections:
    """The collections of prefixes of one table. Several threads may use them."""

    def __init__(self, connection: Connection, records: Records, table: str, full_dim: int) -> None:
        """Name the table and the width of its vectors."""
        self._connection, self._records = connection, records
        self._table, self._full_dim = table, full_dim
        self._documents = Rows(connection, table)
        self._complete: dict[int, str] = {}
        self._read_at = 0.0
        self._failed: set[str] = set()  # entries of this process, after an error
        self._unrepaired = True  # entries of the journal may be left by other processes

    def complete(self, dim: int) -> str | None:
        """Return the collection of complete prefixes of a width; None if there is none.

        The answer is up to 5 seconds old: another process may have dropped the collection.
        """
        if dim not in self._complete or time.monotonic() - self._read_at > _KNOWN_S:
            self._read()
        return self._complete.get(dim)

    def names(self) -> list[str]:
        """Return all collections of prefixes, also those that are being built."""
        found = self._connection.run(lambda client: client.list_collections(timeout=CALL_S))
        return sorted(name for name in found if str(name).startswith(f"{self._table}_p"))

    @contextmanager
    def changing(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """Keep keys in the journal while documents and prefixes change.

        Yields:
            The names of the collections of prefixes to change. After an error, the next change
            repairs the prefixes.
        """
        names = self.names()
        if not names:
            yield names
            return
        if self._unrepaired:
            self.repair()
        entries = self._records.begin(self._table, keys)
        try:
            yield names
        except BaseException:
            self._failed |= {entry.id for entry in entries}
            self._unrepaired = True
            raise
        building = bool(self._incomplete(names))
        self._records.finish(self._table, entries, keep=building)

    def write(self, names: Sequence[str], rows: Sequence[Row], vectors: Embeddings) -> None:
        """Write the prefixes of documents to some collections of prefixes."""
        for name in names:
            dim = _dim(name)
            step = block_size(4 * dim + 1_000)
            for start in range(0, len(rows), step):
                block = slice(start, start + step)
                made = prefix_rows(rows[block], prefix(vectors[block], dim))
                with suppress(MissingCollection):  # another process has dropped these prefixes
                    Rows(self._connection, name).upsert(made)

    def delete(self, names: Sequence[str], keys: Sequence[str]) -> None:
        """Delete the prefixes of documents from some collections of prefixes."""
        for name in names:
            with suppress(MissingCollection):  # another process has dropped these prefixes
                Rows(self._connection, name).delete(keys)

    def create(self, dim: int) -> str:
        """Create an empty collection of prefixes, and return its name."""
        name = f"{self._table}_p{dim}_{secrets.token_hex(4)}"
        collections.create_prefixes(self._connection, name, dim)
        return name

    def build(self, dim: int) -> str:
        """Create a collection of the prefixes of all documents, and return its name.

        Changes by other processes continue. The process must hold the lease of the table.
        """
        for name in self._incomplete(self.names()):  # of an interrupted build
            collections.drop(self._connection, name)
        name = self.create(dim)
        collections.load(self._connection, name)
        step = block_size(4 * self._full_dim + 1_000)
        for rows in self._documents.blocks(_COPIED, block=step):
            self.write([name], rows, _vectors(rows))
        return name

    def publish(self, name: str) -> None:
        """Let searches use a collection of prefixes, after the changes made meanwhile."""
        self._settle()
        self._records.publish(self._table, _dim(name), name)
        self._read()

    def drop_others(self, dim: int | None) -> None:
        """Drop all collections of prefixes except the complete one of a width."""
        self._read()
        kept = None if dim is None else self._complete.get(dim)
        for name in self.names():
            if name != kept:
                self._records.withdraw(name)
                collections.drop(self._connection, name)
        self._read()

    def repair(self) -> None:
        """Complete the changes of processes that ended, from the documents."""
        entries = self._records.journal(self._table)
        abandoned = [each for each in entries if self._has_ended(each)]
        names = self.names()
        if not self._incomplete(names):
            self._derive(names, _keys(abandoned))
            self._records.finish(self._table, abandoned, keep=False)
            self._unrepaired = len(abandoned) < len(entries)

    def _settle(self) -> None:
        """Write the prefixes of documents that changed meanwhile, until no change goes on."""
        while True:
            entries = self._records.journal(self._table)
            if not all(map(self._has_ended, entries)):
                time.sleep(_POLL_S)
                continue
            self._derive(self.names(), _keys(entries))
            later = self._records.journal(self._table)
            self._records.finish(self._table, entries, keep=False)
            if {each.id for each in later} <= {each.id for each in entries}:
                return

    def _derive(self, names: Sequence[str], keys: Sequence[str]) -> None:
        """Make prefixes equal to those of the stored documents."""
        if not keys or not names:
            return
        step = block_size(4 * self._full_dim + 1_000)
        rows = self._documents.of_keys(keys, _COPIED, block=step)
        known = {row[ID] for row in rows}
        if rows:
            self.write(names, rows, _vectors(rows))
        self.delete(names, [key for key in keys if key not in known])

    def _has_ended(self, entry: Entry) -> bool:
        return not entry.open or entry.age_s > ABANDONED_S or entry.id in self._failed

    def _incomplete(self, names: Sequence[str]) -> list[str]:
        """Return the collections of prefixes that are being built."""
        if not set(names) <= set(self._complete.values()):
            self._read()
        return [name for name in names if name not in self._complete.values()]

    def _read(self) -> None:
        self._complete = self._records.complete(self._table)
        self._read_at = time.monotonic()


def _dim(name: str) -> int:
    match = _WIDTH.search(name)
    return 0 if match is None else int(match["dim"])


def _keys(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(key for entry in entries for key in entry.keys))


def _vectors(rows: Sequence[Row]) -> Embeddings:
    return np.asarray([row[EMBEDDING] for row in rows], dtype=np.float32)
