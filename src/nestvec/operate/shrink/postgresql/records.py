"""The record of a shrink: one row for each table and column in ``nestvec.shrinks``.

A step and its record are written in one transaction wherever PostgreSQL allows it. Statements with
CONCURRENTLY run outside of a transaction; the next run finds their result in the catalog.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from nestvec.operate.shrink.postgresql.session import ShrinkSession
from nestvec.operate.shrink.postgresql.target import PresentIndex, ShrinkTable
from nestvec.operate.shrink.request import Metric

State = Literal[
    "started", "column", "filled", "switched", "finishing", "finished", "undoing", "undone"
]
TABLE = """CREATE TABLE IF NOT EXISTS nestvec.shrinks (
    table_schema text NOT NULL,
    table_name text NOT NULL,
    vector_column text NOT NULL,
    state text NOT NULL,
    record jsonb NOT NULL,
    changed timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (table_schema, table_name, vector_column)
)"""
SCHEMA = "CREATE SCHEMA nestvec"
_KEY = "table_schema = %s AND table_name = %s AND vector_column = %s"
_WRITE = """INSERT INTO nestvec.shrinks (table_schema, table_name, vector_column, state, record)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT (table_schema, table_name, vector_column)
DO UPDATE SET state = excluded.state, record = excluded.record, changed = now()"""


@dataclass(frozen=True)
class ShrinkRecord:
    """What a shrink has done, and what an undo needs.

    Attributes:
        state: The last step that is complete.
        point: The operating point, in its text form.
        metric: The metric of the searches.
        function: The name of the search function, in the schema of the table.
        index: The name of the new index, in the schema of the table.
        former: The index of the present searches; None if there was none.
        former_bytes: The size of that index when the shrink began.
        column: The name of the new column; None without a new column.
        skip_nulls: Whether searches leave out rows without a vector.
        statements: The statements that have run, except those of the backfill.
        position: The key of the last row of the backfill, as text; None before the first batch.
        backfilled: Number of rows that the backfill has computed.
        ef_search: The fitted ``hnsw.ef_search``; None if it was not fitted.
        overlap: overlap@10 with exact answers; None if it was not measured.
        adapter: sha256 of the adapter whose codes the column stores; None without an adapter.
        switched_at: When the search function was switched, in seconds since 1970 by the clock of
            the server; None before.
    """

    state: State
    point: str
    metric: Metric
    function: str
    index: str
    former: PresentIndex | None = None
    former_bytes: int = 0
    column: str | None = None
    skip_nulls: bool = False
    statements: tuple[str, ...] = ()
    position: tuple[str, ...] | None = None
    backfilled: int = 0
    ef_search: int | None = None
    overlap: float | None = None
    switched_at: float | None = None
    adapter: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Create a record from the values of ``to_json``."""
        former, position = values["former"], values["position"]
        lists = {
            "former": None if former is None else PresentIndex.from_json(former),
            "position": None if position is None else tuple(position),
            "statements": tuple(values["statements"]),
        }
        return cls(**{**values, **lists})

    def after(self, state: State, *statements: str) -> ShrinkRecord:
        """Return the record after a step that ran statements."""
        return replace(self, state=state, statements=(*self.statements, *statements))


def read_record(session: ShrinkSession, table: ShrinkTable) -> ShrinkRecord | None:
    """Return the record of a table and its column; None if it was never shrunk."""
    if session.row("SELECT to_regclass('nestvec.shrinks')")[0] is None:
        return None
    query = f"SELECT record FROM nestvec.shrinks WHERE {_KEY}"
    rows = session.rows(query, [table.schema, table.name, table.vector])
    return ShrinkRecord.from_json(rows[0][0]) if rows else None


def write_record(connection: Any, table: ShrinkTable, record: ShrinkRecord) -> None:
    """Write the record of a table."""
    values = json.dumps(record.to_json())
    key = [table.schema, table.name, table.vector]
    connection.execute(_WRITE, [*key, record.state, values])


def delete_record(connection: Any, table: ShrinkTable) -> None:
    """Delete the record of a table."""
    query = f"DELETE FROM nestvec.shrinks WHERE {_KEY}"
    connection.execute(query, [table.schema, table.name, table.vector])


def is_own_function(session: ShrinkSession, schema: str, function: str) -> bool:
    """Return whether a record names a search function as created by nestvec."""
    if session.row("SELECT to_regclass('nestvec.shrinks')")[0] is None:
        return False
    query = """SELECT EXISTS (SELECT FROM nestvec.shrinks
        WHERE table_schema = %s AND record ->> 'function' = %s)"""
    return bool(session.row(query, [schema, function])[0])
