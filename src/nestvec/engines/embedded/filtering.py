"""Which rows a filter on metadata selects: the tree of conditions compiled to masks over columns.

Columns are read from SQLite once, and extended since.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import reduce
from operator import iand, ior

import numpy as np

from nestvec.engines.embedded import documents
from nestvec.engines.embedded.columns import Column, Mask
from nestvec.engines.embedded.database import Database
from nestvec.engines.embedded.snapshot import Snapshot
from nestvec.engines.embedded.state import State
from nestvec.engines.filters.condition import (
    And,
    Comparison,
    Condition,
    Exists,
    FieldTest,
    In,
    Not,
    Or,
)


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
        return matching(condition, columns, n_rows)

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


def matching(condition: Condition, columns: Mapping[str, Column], n_rows: int) -> Mask:
    """Return which rows match a condition, [n_rows].

    Args:
        condition: Any node of the tree.
        columns: By field; a field that no row has may be missing.
        n_rows: How many rows there are. A column that ends before has no value in the later ones;
            what a column holds beyond is not looked at.

    Raises:
        TypeError: If there is a node in the tree that is not compiled here.
    """
    match condition:
        case Not(part):
            return ~matching(part, columns, n_rows)
        case And(parts):
            return reduce(iand, (matching(part, columns, n_rows) for part in parts))
        case Or(parts):
            return reduce(ior, (matching(part, columns, n_rows) for part in parts))
        case FieldTest(field):
            found = _holds(condition, columns.get(field, Column()))[:n_rows]
            return np.append(found, np.zeros(n_rows - len(found), dtype=np.bool_))
    raise TypeError(f"{type(condition).__name__} is no condition that this engine knows")


def _holds(test: FieldTest, column: Column) -> Mask:
    """Return which rows of a column match, [n]."""
    match test:
        case Comparison(_, operator, value):
            return column.compare(operator, value)
        case In(_, values, negated):
            found = column.is_in(values)
            return column.exists() & ~found if negated else found
        case Exists():
            return column.exists()
    raise TypeError(f"{type(test).__name__} is no condition that this engine knows")
