"""The steps of a shrink, in their order. Each continues where an interrupted run has ended.

started -> column, filled (with a new column) -> index -> comparison -> switched
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nestvec.engines.pgvector.indexes import graph_kb
from nestvec.operate.shrink.outcome import OnStep, ShrinkOutcome, ShrinkStep
from nestvec.operate.shrink.postgresql.adapting import adapt_function, store_matrix
from nestvec.operate.shrink.postgresql.backfill import backfill
from nestvec.operate.shrink.postgresql.comparing import Compared, compare
from nestvec.operate.shrink.postgresql.indexing import build_index, index_size
from nestvec.operate.shrink.postgresql.paths import exact_query, function_arguments, search_function
from nestvec.operate.shrink.postgresql.prepared import (
    PreparedShrink,
    first_representation,
    former_search,
    point_search,
)
from nestvec.operate.shrink.postgresql.records import SCHEMA, TABLE, ShrinkRecord, write_record
from nestvec.operate.shrink.postgresql.session import ShrinkSession
from nestvec.operate.shrink.postgresql.statements import add_column, create_index
from nestvec.operate.shrink.postgresql.target import ShrinkTable
from nestvec.sources.postgresql import quoted
from nestvec.types import OnProgress, begin_step
from nestvec.wording import count_text, size_text

_SAMPLED_VALUES = 1_000
SWITCHED = ("switched", "finishing", "finished")
"""The states in which the search function uses the operating point."""


class Shrinking:
    """A shrink that runs.

    Attributes:
        record: The record after the last complete step.
    """

    def __init__(
        self, prepared: PreparedShrink, on_step: OnStep | None, on_progress: OnProgress | None
    ) -> None:
        """Continue from the record of a prepared shrink."""
        self._prepared, self._on_step, self._on_progress = prepared, on_step, on_progress
        self._session, self._table = prepared.session, prepared.table
        self.record = prepared.record

    def run(self, min_overlap: float) -> None:
        """Run all steps that are not complete.

        Raises:
            DataError: If the overlap with exact answers is too small for the switch.
        """
        if self.record.state in SWITCHED:
            return
        if not self.record.statements:
            self._step("create the search function", self._start)
        if self.record.column is not None:
            if self.record.state == "started":
                self._step("add the column", self._add_column)
            if self.record.state == "column":
                self._step("fill the column", self._fill, unit="rows")
        self._step("build the index", self._index, unit="pages")
        self._step("compare with exact answers", self._compare, unit="scans")
        overlap = self.record.overlap or 0.0
        if overlap < min_overlap:
            problem = f"overlap@10 is {overlap:.4f}, below --min-overlap {min_overlap:g}"
            remedy = "Nothing was switched. Lower the limit, or run the command with --undo."
            raise self._session.refuse(f"{problem}. {remedy}")
        self._step("switch the search function", self._switch)

    def _step(self, name: str, work: Callable[[], str], *, unit: str = "steps") -> None:
        begin_step(self._on_progress, name, unit)
        start = time.perf_counter()
        detail = work()
        if self._on_step is not None:
            self._on_step(ShrinkStep(name, time.perf_counter() - start, detail))

    def _start(self) -> str:
        statements = start_statements(self._session, self._table, self.record)
        self._change(self.record.after("started", *statements), statements)
        return shown_function(self._session, self._table, self.record)

    def _add_column(self) -> str:
        column = str(self.record.column)
        statements = column_statements(self._table, self.record)
        record, adapter = self.record.after("column", *statements), self._prepared.adapter

        def work(connection: Any) -> None:
            if adapter is not None:
                store_matrix(connection, self._table, adapter, self._prepared.first.dim)
            run_all(connection, self._table, record, statements)

        self._session.change(work)
        self.record = record
        return f"{column} {self._prepared.first.kind}"

    def _fill(self) -> str:
        facts = self._prepared.facts
        self.record = backfill(
            self._session,
            self._table,
            self._prepared.first,
            self.record,
            total=facts.rows,
            on_progress=self._on_progress,
        )
        self._change(self.record.after("filled"), ())
        return count_text(self.record.backfilled, "row")

    def _index(self) -> str:
        first, rows = self._prepared.first, self._prepared.facts.rows
        statement = create_index(self._table, self.record.index, first)
        name = self._table.qualified(self.record.index)
        build_index(
            self._session,
            name,
            statement,
            memory_kb=graph_kb(rows, first.key),
            on_progress=self._on_progress,
        )
        self._session.maintain(f"ANALYZE {self._table.sql}")
        if statement not in self.record.statements:
            self._change(self.record.after(self.record.state, statement), ())
        return size_text(index_size(self._session, name))

    def _compare(self) -> str:
        table, record = self._table, self.record
        with self._session.snapshot():
            found: Compared = compare(
                self._session,
                self._prepared.point,
                exact=exact_query(table, record.metric, skip_nulls=record.skip_nulls),
                new=point_search(table, record),
                sample=self._prepared.sample[: self._prepared.queries],
                on_progress=self._on_progress,
            )
        self.record = replace(record, ef_search=found.ef_search, overlap=found.overlap)
        counted = count_text(found.queries, "query")
        return f"overlap@10 {found.overlap:.4f}, {counted}, ef_search {found.ef_search}"

    def _switch(self) -> str:
        statement = switch_statement(self._table, self.record)
        (now,) = self._session.row("SELECT extract(epoch FROM clock_timestamp())::float8")
        self.record = replace(self.record, switched_at=now)
        self._change(self.record.after("switched", statement), (statement,))
        return shown_function(self._session, self._table, self.record)

    def _change(self, record: ShrinkRecord, statements: tuple[str, ...]) -> None:
        """Run statements and write the record after them, in one transaction."""
        apply(self._session, self._table, record, statements)
        self.record = record


def apply(
    session: ShrinkSession, table: ShrinkTable, record: ShrinkRecord, statements: tuple[str, ...]
) -> None:
    """Run statements and write the record after them, in one transaction."""
    session.change(lambda connection: run_all(connection, table, record, statements))


def run_all(
    connection: Any, table: ShrinkTable, record: ShrinkRecord, statements: tuple[str, ...]
) -> None:
    """Run statements and write the record after them, in the transaction of a connection."""
    for statement in statements:
        connection.execute(statement)
    write_record(connection, table, record)


def column_statements(table: ShrinkTable, record: ShrinkRecord) -> tuple[str, ...]:
    """Return the statements that add the column, after the matrix of an adapter is stored."""
    column = str(record.column)
    statements = add_column(table, column, first_representation(table, record))
    return statements if record.adapter is None else (adapt_function(table, column), *statements)


def start_statements(
    session: ShrinkSession, table: ShrinkTable, record: ShrinkRecord
) -> tuple[str, ...]:
    """Return the statements of the first step: the record's table, and the search function."""
    query = "SELECT to_regnamespace('nestvec') IS NULL, to_regclass('nestvec.shrinks') IS NULL"
    missing = zip((SCHEMA, TABLE), session.row(query), strict=True)
    new = tuple(statement for statement, is_missing in missing if is_missing)
    return (*new, search_function(table, record.function, former_search(table, record), None))


def switch_statement(table: ShrinkTable, record: ShrinkRecord) -> str:
    """Return the statement that switches the search function to the operating point."""
    return search_function(table, record.function, point_search(table, record), record.ef_search)


def function_name(table: ShrinkTable, record: ShrinkRecord) -> str:
    """Return the search function as SQL names it."""
    return f"{table.qualified(record.function)}{function_arguments()}"


def shown_function(session: ShrinkSession, table: ShrinkTable, record: ShrinkRecord) -> str:
    """Return the name of the search function, with quotes only where SQL needs them."""
    query = "SELECT format('%%I.%%I', %s::text, %s::text)"
    return str(session.row(query, [table.schema, record.function])[0])


def outcome(
    session: ShrinkSession, table: ShrinkTable, record: ShrinkRecord, notes: tuple[str, ...] = ()
) -> ShrinkOutcome:
    """Return the state of a table, with the sizes of what the shrink created."""
    undone = record.state == "undone"
    column_bytes = 0
    if record.column is not None and not undone:
        column_bytes = _column_bytes(session, table, record)
    return ShrinkOutcome(
        session.shown,
        record.state,
        record.point,
        shown_function(session, table, record),
        record.ef_search,
        record.overlap,
        record.former_bytes,
        0 if undone else index_size(session, table.qualified(record.index)),
        column_bytes,
        notes=notes,
    )


def _column_bytes(session: ShrinkSession, table: ShrinkTable, record: ShrinkRecord) -> int:
    column = quoted(str(record.column))
    mean, rows = session.row(
        f"SELECT (SELECT avg(pg_column_size({column})) FROM (SELECT {column} FROM {table.sql} "
        f"LIMIT {_SAMPLED_VALUES}) AS sample), (SELECT count(*) FROM {table.sql})"
    )
    return round(float(mean or 0) * int(rows))
