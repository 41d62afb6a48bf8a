"""Which rows a filter on metadata selects: columns read from SQLite once, and extended since."""

from __future__ import annotations

import threading

import numpy as np

from nestvec.index.columns import Column, Mask
from nestvec.index.condition import Condition
from nestvec.index.embedded import documents
from nestvec.index.embedded.database import Database
from nestvec.index.embedded.snapshot import Snapshot
from nestvec.index.embedded.state import State


class Filter:
    """Selects rows of the documents of one index."""

    def __init__(self, database: Database) -> None:
        """Take the connection to read from."""
        self._database = database
        self._lock = threading.Lock()
        self._generation, self._counter = -1, -1
        self._columns: dict[str, Column] = {}

    def mask(self, condition: Condition, snapshot: Snapshot) -> Mask | None:
        """Return which rows of a snapshot are selected, [n_rows].

        None where the index has changed since: of what was deleted, nothing can be read any more.
        """
        with self._lock:
            if not self._read(condition.fields, snapshot.state):
                return None
            columns = {field: self._column(field) for field in condition.fields}
        return condition.matches(columns, snapshot.state.n_rows)

    def _column(self, field: str) -> Column:
        return self._columns.get(field, Column())

    def _read(self, fields: frozenset[str], state: State) -> bool:
        """Read what is missing of a commit; False where a later one is all that can be read."""
        if state.counter < self._counter:
            return False
        if state.generation != self._generation:
            self._generation, self._columns = state.generation, {}
        behind = [field for field in fields if len(self._column(field)) < state.n_rows]
        if not behind:
            return True
        with self._database.reading():
            if documents.read_state(self._database).counter != state.counter:
                return False
            for field in behind:
                self._columns[field] = self._extended(field, state.n_rows)
        self._counter = state.counter
        return True

    def _extended(self, field: str, n_rows: int) -> Column:
        """Return a column with the rows that came since."""
        column = self._column(field)
        first = len(column)
        values = np.full(n_rows - first, None, dtype=object)
        for row, value in documents.field_from(self._database, field, first):
            values[row - first] = value
        return column.extend(first, values)
