"""The metadata columns of an index, and the masks of filters over them.

A column is read from SQLite when a filter first uses its field, and extended after that.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nestvec.engines.embedded import documents
from nestvec.engines.embedded.database import Database, ReadConnections
from nestvec.engines.embedded.snapshot import SelectedRows, Snapshot
from nestvec.engines.embedded.state import State
from nestvec.engines.filters.columns import Column, Mask
from nestvec.engines.filters.condition import Condition
from nestvec.engines.filters.fields import FieldKinds, check_fields, unknown_field
from nestvec.engines.filters.masks import matching

_SELECTED_BYTES = 2**25  # of the filters that are kept
_ROW_BYTES = 10  # two masks of a byte, and the number of a row; few filters have codes, too


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
        self._fields = _Fields(State())

    def mask(self, condition: Condition, snapshot: Snapshot) -> Mask | None:
        """Return which rows of a snapshot match a condition, [n_rows].

        None if a column has to be read and the snapshot is not the last commit any more. The
        caller then repeats the call with a newer snapshot.

        Raises:
            InvalidArgument: If no document has a field of the condition, or no document has a
                value of a compared type.
        """
        state = snapshot.state
        self._fields_at(state).refuse_unknown(condition)  # without reading a column
        columns = self._known(condition.fields, state)
        if columns is None:
            with self._reading:
                columns = self._known(condition.fields, state)
                if columns is None and self._read(condition.fields, state):
                    columns = self._known(condition.fields, state)
        if columns is None or not self._check(condition, columns, snapshot):
            return None
        return matching(condition, columns, state.n_rows)

    def _check(
        self, condition: Condition, columns: Mapping[str, Column], snapshot: Snapshot
    ) -> bool:
        """Check the fields of a condition; False if the snapshot is not the last commit any more.

        Raises:
            InvalidArgument: As ``mask`` does.
        """
        if not snapshot.state.n_documents:
            return True
        fields = self._fields_at(snapshot.state)
        found = {
            field: fields.kinds.get(field) or column.kinds(snapshot.live)
            for field, column in columns.items()
        }
        unknown = {field for field, kinds in found.items() if not kinds.values}
        if unknown and not self._read_names(fields):
            return False
        with self._lock:  # columns of unknown fields are not kept: their number has no limit
            self._columns = {
                field: column for field, column in self._columns.items() if field not in unknown
            }
        fields.kinds |= {field: kinds for field, kinds in found.items() if field not in unknown}
        check_fields(condition, found, lambda: fields.names or ())
        return True

    def _fields_at(self, state: State) -> _Fields:
        """Return what is known of the fields at a commit."""
        with self._lock:
            if self._fields.state != state:
                self._fields = _Fields(state)
            return self._fields

    def _read_names(self, fields: _Fields) -> bool:
        """Read the names of all fields of a commit; False if it is not the last commit any more."""
        with self._reading:
            if fields.names is None:
                with self._reads.borrow() as database, database.reading():
                    if documents.read_state(database) != fields.state:
                        return False
                    fields.names = frozenset(documents.field_names(database))
        return True

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


class RecentFilters:
    """The documents of the filters used last, so that a repeated filter costs nothing.

    They are valid for one snapshot. Their number is limited by ``_SELECTED_BYTES``.
    """

    def __init__(self) -> None:
        """Start without filters."""
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        # By text, because 1 equals True in Python. The filter used last is at the end.
        self._found: OrderedDict[str, SelectedRows] = OrderedDict()

    def get(self, condition: Condition, snapshot: Snapshot) -> SelectedRows | None:
        """Return the documents of a filter in a snapshot; None if they are not known."""
        text = str(condition)
        with self._lock:
            if snapshot is not self._snapshot or text not in self._found:
                return None
            self._found.move_to_end(text)
            return self._found[text]

    def add(self, condition: Condition, snapshot: Snapshot, found: SelectedRows) -> SelectedRows:
        """Keep the documents of a filter, and return them."""
        most = max(1, _SELECTED_BYTES // max(1, _ROW_BYTES * len(found.mask)))
        with self._lock:
            if snapshot is not self._snapshot:
                self._snapshot, self._found = snapshot, OrderedDict()
            self._found[str(condition)] = found
            while len(self._found) > most:
                self._found.popitem(last=False)
        return found


@dataclass
class _Fields:
    """What is known of the metadata fields at a commit.

    Attributes:
        state: The commit.
        kinds: The kinds of values of fields that a filter used.
        names: The names of all fields; None if they are not read yet.
    """

    state: State
    kinds: dict[str, FieldKinds] = field(default_factory=dict)
    names: frozenset[str] | None = None

    def refuse_unknown(self, condition: Condition) -> None:
        """Check the fields of a condition, if the names are known.

        Raises:
            InvalidArgument: If no document has a field of the condition.
        """
        if self.names is not None:
            for name in sorted(condition.fields - self.names):
                raise unknown_field(name, self.names)


def _extended(database: Database, column: Column, field: str, n_rows: int) -> Column:
    """Return a column extended by the rows that were added since it was read."""
    first = len(column)
    values = np.full(n_rows - first, None, dtype=object)
    for row, value in documents.field_from(database, field, first):
        values[row - first] = value
    return column.extend(first, values)
