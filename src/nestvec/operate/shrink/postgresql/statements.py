"""The statements that change a database, and the names of the objects that they create."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from nestvec.engines.pgvector.indexes import EF_CONSTRUCTION, M
from nestvec.operate.shrink.postgresql.paths import trigger_function
from nestvec.operate.shrink.postgresql.representation import SqlRepresentation
from nestvec.operate.shrink.postgresql.target import ShrinkTable
from nestvec.sources.postgresql import quoted

_LONGEST_NAME = 63  # bytes of an identifier
BACKFILL_SETTING = "nestvec.backfill"
"""A setting of the connection of the backfill, whose rows need no trigger."""


class TriggerNames(NamedTuple):
    """The names of the trigger function, and of its triggers for new and for changed rows."""

    function: str
    insert: str
    update: str


def derived_name(table: str, suffix: str) -> str:
    """Return the name of an object that belongs to a table, within the limit of PostgreSQL.

    >>> derived_name("docs", "search")
    'docs_search'
    """
    name = f"{table}_{suffix}"
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(table.encode()).hexdigest()[:8]
    room = _LONGEST_NAME - len(suffix.encode()) - len(digest) - 2
    short = table.encode()[:room].decode(errors="ignore")
    return f"{short}_{digest}_{suffix}"


def trigger_names(table: ShrinkTable, column: str) -> TriggerNames:
    """Return names that sort last: PostgreSQL runs triggers in the order of their names."""
    last = f"zz_{column}"
    return TriggerNames(
        derived_name(f"{table.name}_{column}", "nestvec"),
        derived_name(last, "insert"),
        derived_name(last, "update"),
    )


def create_index(table: ShrinkTable, name: str, first: SqlRepresentation) -> str:
    """Return the statement that creates the index of a representation."""
    return (
        f"CREATE INDEX CONCURRENTLY {quoted(name)} ON {table.sql} USING hnsw "
        f"({first.expression} {first.operator_class}) "
        f"WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})"
    )


def drop_index(qualified: str) -> str:
    """Return the statement that drops an index by its quoted name."""
    return f"DROP INDEX CONCURRENTLY IF EXISTS {qualified}"


def add_column(table: ShrinkTable, column: str, stored: SqlRepresentation) -> tuple[str, ...]:
    """Return the statements that add a column, and fill it for rows written from now on."""
    names = trigger_names(table, column)
    execute = f"EXECUTE FUNCTION {table.qualified(names.function)}()"
    new = f"NEW.{table.column}"
    # A backfill changes no vector, so it is spared the comparison. Both conditions name the
    # column, so that PostgreSQL drops the triggers with it (CASCADE), and writes continue.
    changed = (
        f"current_setting('{BACKFILL_SETTING}', true) IS DISTINCT FROM 'on' "
        f"AND (NEW.{stored.stored_in} IS NULL OR {new} IS DISTINCT FROM OLD.{table.column})"
    )
    return (
        f"ALTER TABLE {table.sql} ADD COLUMN {quoted(column)} {stored.kind}",
        trigger_function(table, names.function, stored),
        f"CREATE TRIGGER {quoted(names.insert)} BEFORE INSERT ON {table.sql} "
        f"FOR EACH ROW WHEN ({new} IS NOT NULL) {execute}",
        f"CREATE TRIGGER {quoted(names.update)} BEFORE UPDATE ON {table.sql} "
        f"FOR EACH ROW WHEN ({changed}) {execute}",
    )


def drop_column(table: ShrinkTable, column: str) -> tuple[str, ...]:
    """Return the statements that drop what ``add_column`` added."""
    names = trigger_names(table, column)
    return (
        f"DROP TRIGGER IF EXISTS {quoted(names.insert)} ON {table.sql}",
        f"DROP TRIGGER IF EXISTS {quoted(names.update)} ON {table.sql}",
        f"DROP FUNCTION IF EXISTS {table.qualified(names.function)}()",
        f"ALTER TABLE {table.sql} DROP COLUMN IF EXISTS {quoted(column)}",
    )


def fill_batch(table: ShrinkTable, stored: SqlRepresentation, *, first: bool) -> str:
    """Return the statement that fills the new column of the rows of a range of keys.

    Its parameters are the keys before the range (unless it is the first) and at its end.
    """
    keys = table.key
    n = len(keys)
    names = ", ".join(quoted(each.name) for each in keys)
    start = 0 if first else n
    last = ", ".join(f"${start + i + 1}::text::{each.kind}" for i, each in enumerate(keys))
    after = ", ".join(f"${i + 1}::text::{each.kind}" for i, each in enumerate(keys))
    begin = "" if first else f"({names}) > ({after}) AND "
    return f"{fill_missed(table, stored)} AND {begin}({names}) <= ({last})"


def fill_missed(table: ShrinkTable, stored: SqlRepresentation) -> str:
    """Return the statement that fills rows whose key moved behind the backfill, or none."""
    return (
        f"UPDATE {table.sql} SET {stored.stored_in} = {stored.computed_from(table.column)} "
        f"WHERE {stored.stored_in} IS NULL AND {table.column} IS NOT NULL"
    )


def batch_end(table: ShrinkTable, rows: int | None, *, first: bool) -> str:
    """Return the query of the last key of a batch, as text.

    Its parameters are the keys before the batch, unless it is the first.

    Args:
        table: The table.
        rows: Number of rows of the batch; None for all rows that are left.
        first: Whether the batch is the first.
    """
    order = " DESC" if rows is None else ""
    names = ", ".join(quoted(each.name) for each in table.key)
    ordered = ", ".join(f"{quoted(each.name)}{order}" for each in table.key)
    after = ", ".join(f"${i + 1}::text::{each.kind}" for i, each in enumerate(table.key))
    texts = ", ".join(f"{quoted(each.name)}::text" for each in table.key)
    where = "" if first else f"WHERE ({names}) > ({after}) "
    skip = "" if rows is None else f"OFFSET {rows - 1} "
    return (
        f"SELECT {texts} FROM (SELECT {names} FROM {table.sql} {where}"
        f"ORDER BY {ordered} {skip}LIMIT 1) AS batch"
    )
