"""Which rows a filter on metadata selects: columns read from SQLite once, and extended since."""

from __future__ import annotations

import threading

import numpy as np

from nestvec.index.columns import Column, Mask
from nestvec.index.condition import Condition
from nestvec.index.embedded import documents
from nestvec.index.embedded.database import Database
from nestvec.index.embedded.snapshot import Snapshot


class Filter:
    """Selects rows of the documents of one index."""

    def __init__(self, database: Database) -> None:
        """Take the connection to read from."""
        self._database = database
        self._lock = threading.Lock()
        self._generation = -1
        self._columns: dict[str, Column] = {}

    def mask(self, condition: Condition, snapshot: Snapshot) -> Mask | None:
        """Return which rows of a snapshot are selected, [n_rows].

        None where the index was compacted since, and its rows are numbered anew.
        """
        n_rows = snapshot.state.n_rows
        with self._lock:
            if not self._read(condition.fields, snapshot):
                return None
            columns = {field: self._columns[field] for field in condition.fields}
        return condition.matches(columns, n_rows)

    def _read(self, fields: frozenset[str], snapshot: Snapshot) -> bool:
        with self._database.reading():
            state = documents.read_state(self._database)
            if state.generation != snapshot.state.generation:
                return False
            if state.generation != self._generation:
                self._generation, self._columns = state.generation, {}
            for field in fields:
                column = self._columns.get(field, Column())
                self._columns[field] = self._extended(column, field, state.n_rows)
        return True

    def _extended(self, column: Column, field: str, n_rows: int) -> Column:
        """Return a column with the rows that came since."""
        first = len(column)
        if first == n_rows:
            return column
        values = np.full(n_rows - first, None, dtype=object)
        for row, value in documents.field_from(self._database, field, first):
            values[row - first] = value
        return column.extend(first, values)
