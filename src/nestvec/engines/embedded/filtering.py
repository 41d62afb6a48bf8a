"""Which rows a filter on metadata selects: columns read from SQLite once, and extended since."""

from __future__ import annotations

import threading

import numpy as np

from nestvec.engines.embedded import documents
from nestvec.engines.embedded.database import Database
from nestvec.engines.embedded.snapshot import Snapshot
from nestvec.engines.embedded.state import State
from nestvec.engines.filters.columns import Column, Mask
from nestvec.engines.filters.condition import Condition


class Filter:
    """Selects rows of the documents of one index."""

    def __init__(self, database: Database) -> None:
        """Take the connection to read from."""
        self._database = database
        self._lock = threading.Lock()
        self._read_at = State()
        self._columns: dict[str, Column] = {}

    def mask(self, condition: Condition, snapshot: Snapshot) -> Mask | None:
        """Return which rows of a snapshot are selected, [n_rows].

        None where it has to be asked again for a newer one: rows are numbered anew since, or what
        is to be read has changed.
        """
        n_rows = snapshot.state.n_rows
        with self._lock:
            if not self._read(condition.fields, snapshot):
                return None
            columns = {field: self._columns.get(field, Column()) for field in condition.fields}
        return condition.matches(columns, n_rows)

    def _read(self, fields: frozenset[str], snapshot: Snapshot) -> bool:
        state = snapshot.state
        if state.counter < self._read_at.counter:
            return False  # rows that it has may have been gone when columns were read
        columns = self._columns if state.generation == self._read_at.generation else {}
        behind = {
            field: column
            for field in fields
            if len(column := columns.get(field, Column())) < state.n_rows
        }
        if not behind:
            return True
        with self._database.reading():
            if documents.read_state(self._database) != state:
                return False  # a row of the snapshot may be gone by now, and its metadata
            extended = {
                field: self._extended(column, field, state.n_rows)
                for field, column in behind.items()
            }
        self._columns, self._read_at = columns | extended, state
        return True

    def _extended(self, column: Column, field: str, n_rows: int) -> Column:
        """Return a column with the rows that came since."""
        first = len(column)
        values = np.full(n_rows - first, None, dtype=object)
        for row, value in documents.field_from(self._database, field, first):
            values[row - first] = value
        return column.extend(first, values)
