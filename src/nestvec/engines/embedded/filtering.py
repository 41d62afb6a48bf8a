"""Compile the conditions of a metadata filter to masks over columns.

A column is read from SQLite when a filter first uses its field, and extended after that.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import reduce
from operator import iand, ior

import numpy as np

from nestvec.engines.embedded import documents
from nestvec.engines.embedded.columns import Column, Mask
from nestvec.engines.embedded.database import Database, ReadConnections
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
    """The columns of an index, from which masks of filters are computed."""

    def __init__(self, reads: ReadConnections) -> None:
        """Start without columns.

        Args:
            reads: The connections for reading columns, which searches do not use.
        """
        self._reads = reads
        self._lock = threading.Lock()  # protects the columns; never locked for long
        self._reading = threading.Lock()  # one thread reads columns; others use known columns
        self._read_at = State()
        self._columns: dict[str, Column] = {}

    def mask(self, condition: Condition, snapshot: Snapshot) -> Mask | None:
        """Return which rows of a snapshot match a condition, [n_rows].

        None if a column has to be read and the snapshot is not the last commit any more. The
        caller then repeats the call with a newer snapshot.
        """
        columns = self._known(condition.fields, snapshot.state)
        if columns is None:
            with self._reading:
                columns = self._known(condition.fields, snapshot.state)
                if columns is None and self._read(condition.fields, snapshot.state):
                    columns = self._known(condition.fields, snapshot.state)
        return None if columns is None else matching(condition, columns, snapshot.state.n_rows)

    def _known(self, fields: frozenset[str], state: State) -> dict[str, Column] | None:
        """Return the columns of fields; None if one of them must be read first."""
        with self._lock:
            columns = self._usable(state)
        known = {field: columns.get(field, Column()) for field in fields}
        complete = all(len(column) >= state.n_rows for column in known.values())
        return known if complete else None

    def _usable(self, state: State) -> dict[str, Column]:
        """Return the columns that are valid for a commit; none if they were read after it."""
        newer = state.counter < self._read_at.counter  # rows of the commit may be missing
        same = state.generation == self._read_at.generation  # otherwise row numbers differ
        return self._columns if same and not newer else {}

    def _read(self, fields: frozenset[str], state: State) -> bool:
        """Read missing columns for a commit; False if it is not the last commit any more."""
        with self._lock:
            if state.counter < self._read_at.counter:
                return False  # rows of the commit may have been deleted before columns were read
            columns = self._usable(state)
        known = {field: columns.get(field, Column()) for field in fields}
        behind = {field: each for field, each in known.items() if len(each) < state.n_rows}
        with self._reads.borrow() as database, database.reading():
            if documents.read_state(database) != state:
                return False  # a row of the commit may have been deleted, with its metadata
            extended = {
                field: _extended(database, column, field, state.n_rows)
                for field, column in behind.items()
            }
        with self._lock:
            self._columns, self._read_at = columns | extended, state
        return True


def _extended(database: Database, column: Column, field: str, n_rows: int) -> Column:
    """Return a column extended by the rows that were added since it was read."""
    first = len(column)
    values = np.full(n_rows - first, None, dtype=object)
    for row, value in documents.field_from(database, field, first):
        values[row - first] = value
    return column.extend(first, values)


def matching(condition: Condition, columns: Mapping[str, Column], n_rows: int) -> Mask:
    """Return which rows match a condition, [n_rows].

    Args:
        condition: The condition.
        columns: Columns by field; a field that no row has may be missing.
        n_rows: The number of rows. Rows after the end of a column have no value. Values after
            ``n_rows`` are not used.

    Raises:
        TypeError: If the tree contains an unknown node.
    """
    match condition:
        case Not(part):
            return ~matching(part, columns, n_rows)
        case And(parts):
            return reduce(iand, (matching(part, columns, n_rows) for part in parts))
        case Or(parts):
            return reduce(ior, (matching(part, columns, n_rows) for part in parts))
        case FieldTest(field):
            found = _matching_field(condition, columns.get(field, Column()))[:n_rows]
            return np.append(found, np.zeros(n_rows - len(found), dtype=np.bool_))
    raise TypeError(f"{type(condition).__name__} is not a condition that this engine supports")


def _matching_field(test: FieldTest, column: Column) -> Mask:
    """Return which rows of a column match, [n]."""
    match test:
        case Comparison(_, operator, value):
            return column.compare(operator, value)
        case In(_, values, negated):
            found = column.is_in(values)
            return column.exists() & ~found if negated else found
        case Exists():
            return column.exists()
    raise TypeError(f"{type(test).__name__} is not a condition that this engine supports")
