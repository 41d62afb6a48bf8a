"""The statements that a shrink would run, with their locks, time and space. Nothing is changed."""

from __future__ import annotations

from dataclasses import replace

from nestvec.engines.pgvector.indexes import EF_SEARCH
from nestvec.operate.shrink.outcome import PlannedStatement
from nestvec.operate.shrink.postgresql import estimates
from nestvec.operate.shrink.postgresql.adapting import INSERT_WEIGHTS
from nestvec.operate.shrink.postgresql.adapting import TABLE as ADAPTERS
from nestvec.operate.shrink.postgresql.forward import (
    SWITCHED,
    column_statements,
    start_statements,
    switch_statement,
)
from nestvec.operate.shrink.postgresql.prepared import PreparedShrink
from nestvec.operate.shrink.postgresql.statements import (
    create_index,
    drop_index,
    fill_batch,
)

_CONCURRENT = "SHARE UPDATE EXCLUSIVE: blocks neither reads nor writes; waits for open transactions"
_INSTANT = "ACCESS EXCLUSIVE for an instant: waits at most 2 s at a time for open transactions"
_TRIGGER = "SHARE ROW EXCLUSIVE for an instant, in the same transaction as the column"
_ROWS = "ROW EXCLUSIVE: each batch locks its rows against writes for about 1 s"
_NONE = "none on the table"
_LOCKS = {"ALTER TABLE": _INSTANT, "CREATE TRIGGER": _TRIGGER}
_EXAMPLE_WIDTH = EF_SEARCH[0]


def preview(prepared: PreparedShrink) -> tuple[PlannedStatement, ...]:
    """Return the statements that a prepared shrink and its finish have yet to run, in their order.

    The ``hnsw.ef_search`` of the search function is fitted later; the statement has an example.
    """
    planned = _forward(prepared)
    done = prepared.record.statements
    if prepared.record.state in SWITCHED:
        planned = []
    left = [each for each in planned if each.sql not in done]
    former = prepared.record.former
    if former is not None and prepared.record.state != "finished":
        size = -prepared.record.former_bytes
        drop = drop_index(former.name)
        left.append(PlannedStatement(drop, _CONCURRENT, size=size, when="finish"))
    return tuple(left)


def _forward(prepared: PreparedShrink) -> list[PlannedStatement]:
    session, table, record = prepared.session, prepared.table, prepared.record
    rows, first = prepared.facts.rows, prepared.first
    planned = [PlannedStatement(each, _NONE) for each in start_statements(session, table, record)]
    if record.column is not None:
        planned += _column_statements(prepared)
    planned += [
        PlannedStatement(
            create_index(table, record.index, first),
            _CONCURRENT,
            estimates.index_seconds(rows, first.key),
            estimates.index_bytes(rows, first.key),
        ),
        PlannedStatement(f"ANALYZE {table.sql}", _CONCURRENT, 1.0),
        PlannedStatement(switch_statement(table, replace(record, ef_search=_EXAMPLE_WIDTH)), _NONE),
    ]
    return planned


def _column_statements(prepared: PreparedShrink) -> list[PlannedStatement]:
    table, record, first = prepared.table, prepared.record, prepared.first
    rows, graphs = prepared.facts.rows, len(table.indexes) + len(table.others)
    seconds = estimates.fill_seconds(rows, table.dim, graphs)
    planned = []
    if record.adapter is not None:
        seconds += estimates.adapt_seconds(rows, table.dim, first.dim)
        planned.append(PlannedStatement(ADAPTERS, _NONE))
        planned.append(PlannedStatement(f"{INSERT_WEIGHTS} -- {first.dim} rows", _NONE))
    for statement in column_statements(table, record):
        kind = " ".join(statement.split()[:2])
        planned.append(PlannedStatement(statement, _LOCKS.get(kind, _NONE)))
    size = estimates.column_bytes(rows, first.key, table.size)
    fill = fill_batch(table, first, first=False)
    return [*planned, PlannedStatement(fill, _ROWS, seconds, size)]
