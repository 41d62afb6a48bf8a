"""An open Lance table of documents, which follows its index to another table.

A build replaces the table of an index. LanceDB does not report that: a table that was opened before
returns its old rows, no rows, or an error, and accepts new rows that nobody will read. So a change
reads the record of the index first, and a search uses the table of the latest known record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from nestvec.engines.filters.datafusion import literal
from nestvec.engines.lancedb.connection import LanceFolder, MissingData
from nestvec.engines.lancedb.rows import ID
from nestvec.engines.tables import Record
from nestvec.errors import DataError

Result = TypeVar("Result")
_ATTEMPTS = 4
_IDS = 1_024  # ids in one condition


class IndexRecords(Protocol):
    """The records of the indexes of a folder."""

    def read(self, name: str) -> Record | None:
        """Return the record of an index."""
        ...

    def latest(self, name: str) -> Record | None:
        """Return the record that was read last."""
        ...

    def move(self, name: str, columns: Any, batches: Iterator[Any]) -> None:
        """Replace the table of an index by a new one, and delete the former."""
        ...


class OpenTable:
    """The Lance table of one index. Several threads may use it."""

    def __init__(self, folder: LanceFolder, records: IndexRecords, name: str, table: str) -> None:
        """Name the index and its table.

        Args:
            folder: The folder of the table.
            records: The records of its indexes.
            name: The name of the index.
            table: The name of its Lance table.
        """
        self.folder = folder
        self._records, self._name = records, name
        self._opened: tuple[str, Any] | None = None
        self._first, self._lock = table, threading.Lock()

    @property
    def shown(self) -> str:
        """The URL of the index, for messages."""
        return self.folder.shown

    def record(self) -> Record:
        """Read the record of the index.

        Raises:
            DataError: If the index was dropped.
        """
        record = self._records.read(self._name)
        if record is None:
            raise DataError(self.shown, "contains no index any more. Build it again.")
        return record

    def read(self, work: Callable[[Any], Result]) -> Result:
        """Run a function that reads, with the Lance table, in the latest version.

        The function runs again if the table or its version was deleted meanwhile.

        Raises:
            DataError: If the table cannot be read.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return self.folder.call(lambda: work(self._table()))
            except MissingData as error:
                if attempt == _ATTEMPTS - 1:
                    raise DataError(self.shown, str(error)) from None
                self.record()
                with self._lock:
                    self._opened = None
        raise AssertionError

    def change(self, work: Callable[[Any], Result]) -> Result:
        """Run a function that changes the table, and repeat it after a conflict.

        The function must have the same effect if it runs twice.

        Raises:
            IndexLocked: If another process changes the folder.
            DataError: If the table cannot be changed.
        """
        with self.folder.changing():
            self.record()
            return self.read(work)

    def replace_by(self, columns: Any, batches: Iterator[Any]) -> None:
        """Replace the table of the index by a new one, in one commit of the records.

        Args:
            columns: The Arrow schema of the new table.
            batches: Its rows as Arrow record batches.
        """
        self._records.move(self._name, columns, batches)

    def blocks(self, columns: Sequence[str], condition: str | None = None) -> Iterator[Any]:
        """Yield the matching rows as Arrow record batches, in bounded memory."""

        def start(table: Any) -> Any:
            query = table.search().select(list(columns))
            return (query if condition is None else query.where(condition)).to_batches()

        batches = self.read(start)
        while True:
            try:
                block = self.folder.call(lambda: next(batches, None))
            except MissingData as error:
                problem = f"changed while it was read ({str(error).rstrip('.')})."
                raise DataError(self.shown, f"{problem} Try again.") from None
            if block is None:
                return
            yield block

    def select(self, columns: Sequence[str], ids: Sequence[str]) -> list[Any]:
        """Return the rows of some ids as Arrow tables."""
        found = []
        for start in range(0, len(ids), _IDS):
            condition = id_condition(ids[start : start + _IDS])
            found.append(
                self.read(
                    lambda table, text=condition: (  # type: ignore[misc]
                        table.search().where(text).select(list(columns)).to_arrow()
                    )
                )
            )
        return found

    def _table(self) -> Any:
        latest = self._records.latest(self._name)
        name = self._first if latest is None else latest.table
        with self._lock:
            if self._opened is None or self._opened[0] != name:
                self._opened = name, self.folder.database.open_table(name)
            return self._opened[1]


def id_condition(ids: Sequence[str]) -> str:
    """Return the SQL condition that a row has one of some ids."""
    return f"{ID} IN ({', '.join(map(literal, ids))})"
