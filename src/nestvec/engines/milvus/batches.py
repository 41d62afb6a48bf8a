"""Additions that are larger than one request, so that Milvus does not add them in one step.

After an error, the documents of the first requests are deleted. After a crash, they remain. The
records then still have the ids of the batch, so that the same batch can be added again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from nestvec.engines.milvus.documents import Rows
from nestvec.engines.milvus.records import Records
from nestvec.errors import DataError


class Batches:
    """The batches of one table that are being added, or that a crash interrupted."""

    def __init__(self, records: Records, documents: Rows, table: str) -> None:
        """Name the table and its documents."""
        self._records, self._documents, self._table = records, documents, table

    def unfinished(self) -> set[str]:
        """Return the primary keys of batches of which a part is missing."""
        keys: set[str] = set()
        for batch in self._records.batches(self._table):
            if len(self._documents.of_keys(batch.keys, [])) < len(batch.keys):
                keys |= {*batch.keys}
            else:  # the crash was after the last request
                self._records.remove_batch(batch)
        return keys

    @contextmanager
    def adding(self, keys: Sequence[str]) -> Iterator[None]:
        """Keep primary keys in the records while the block adds their documents.

        After an error in the block, the documents are deleted if the server can be reached.
        """
        own = self._records.begin_batch(self._table, keys)
        try:
            yield
        except BaseException:
            with suppress(DataError):
                self._documents.delete(keys)
                self._records.remove_batch(own)
            raise
        for batch in self._records.batches(self._table):
            if {*batch.keys} <= {*keys}:  # also an interrupted addition of the same documents
                self._records.remove_batch(batch)
