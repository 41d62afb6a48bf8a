"""Finish a shrink, which drops the former index, or undo it, also after it was finished."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from nestvec.engines.pgvector.indexes import graph_kb
from nestvec.errors import InvalidArgument
from nestvec.operate.shrink.outcome import OnStep, ShrinkOutcome, ShrinkStep
from nestvec.operate.shrink.postgresql.adapting import drop_adapter
from nestvec.operate.shrink.postgresql.forward import (
    apply,
    function_name,
    outcome,
    shown_function,
)
from nestvec.operate.shrink.postgresql.indexing import build_index, index_size, is_complete
from nestvec.operate.shrink.postgresql.paths import search_function
from nestvec.operate.shrink.postgresql.points import STORED
from nestvec.operate.shrink.postgresql.prepared import former_search
from nestvec.operate.shrink.postgresql.records import ShrinkRecord, delete_record
from nestvec.operate.shrink.postgresql.session import ShrinkSession
from nestvec.operate.shrink.postgresql.statements import drop_column, drop_index
from nestvec.operate.shrink.postgresql.target import ShrinkTable
from nestvec.types import OnProgress, begin_step
from nestvec.wording import size_text

GRACE_S = 15.0
"""Searches that ran at the switch may end, and the server may count them, within this time."""
_LAST_SCAN = 160_000  # the version of PostgreSQL that introduced the time of the last scan


class Ending:
    """A recorded shrink that is finished or undone."""

    def __init__(
        self,
        session: ShrinkSession,
        table: ShrinkTable,
        record: ShrinkRecord | None,
        on_step: OnStep | None,
        on_progress: OnProgress | None,
    ) -> None:
        """Use the record of a table.

        Raises:
            InvalidArgument: If there is none.
        """
        if record is None:
            problem = f"table {table.name} was not shrunk, so there is nothing to finish or undo"
            raise InvalidArgument(f"{problem}. Run nestvec shrink with --plan or --point first.")
        self._session, self._table, self._record = session, table, record
        self._on_step, self._on_progress = on_step, on_progress

    def finish(self, *, force: bool = False) -> ShrinkOutcome:
        """Drop the former index.

        Args:
            force: Drop the index also if it was used after the switch.

        Raises:
            InvalidArgument: If the search function was not switched yet.
            DataError: If programs still use the former index.
        """
        record = self._record
        if record.state not in ("switched", "finishing", "finished"):
            problem = f"the shrink of {self._table.name} is not complete (state {record.state})"
            raise InvalidArgument(f"{problem}. Run it with --plan or --point first.")
        freed = 0
        if record.state == "switched" and not force:
            self._check_unused()
        if record.state != "finished":
            freed = self._drop_former()
        return replace(outcome(self._session, self._table, self._record), freed_bytes=freed)

    def undo(self, *, drop_function: bool = False) -> ShrinkOutcome:
        """Return to the former search, and drop what the shrink created.

        Args:
            drop_function: Drop the search function, too.
        """
        session, table, record = self._session, self._table, self._record
        freed = 0
        if record.state != "undone":
            self._rebuild_former()
            self._switch_back()
            freed = self._drop_new()
        if drop_function:
            self._drop_function()
        return replace(outcome(session, table, self._record), freed_bytes=freed)

    def _check_unused(self) -> None:
        """Check that no program has used the former index after the switch (PostgreSQL 16+)."""
        former, switched_at = self._record.former, self._record.switched_at
        if former is None or switched_at is None or self._session.version < _LAST_SCAN:
            return
        query = """SELECT extract(epoch FROM last_idx_scan)::float8,
            to_char(last_idx_scan, 'YYYY-MM-DD HH24:MI:SS TZ')
            FROM pg_stat_all_indexes WHERE indexrelid = to_regclass(%s)"""
        for used_at, shown in self._session.rows(query, [former.name]):
            if used_at is not None and used_at > switched_at + GRACE_S:
                problem = f"index {former.name} was used after the switch, at {shown}."
                name = shown_function(self._session, self._table, self._record)
                remedy = f"Let all programs call {name}, or pass --force."
                raise self._session.refuse(f"{problem} {remedy}")

    def _drop_former(self) -> int:
        former, freed = self._record.former, 0
        start = self._begin("drop the former index")
        self._save(self._record.after("finishing"))
        if former is not None:
            freed = index_size(self._session, former.name)
            statement = drop_index(former.name)
            self._session.maintain(statement)
            self._save(self._record.after("finished", statement))
        else:
            self._save(self._record.after("finished"))
        self._end("drop the former index", start, f"{size_text(freed)} freed")
        return freed

    def _rebuild_former(self) -> None:
        former = self._record.former
        if former is None or is_complete(self._session, former.name):
            return
        start = self._begin("rebuild the former index", "pages")
        (rows,) = self._session.row(
            "SELECT greatest(0, reltuples)::bigint FROM pg_class WHERE oid = %s", [self._table.oid]
        )
        memory = graph_kb(rows, (self._table.dim, STORED[self._table.kind]))
        build_index(
            self._session,
            former.name,
            former.concurrent_definition(),
            memory_kb=memory,
            on_progress=self._on_progress,
        )
        size = size_text(index_size(self._session, former.name))
        self._end("rebuild the former index", start, size)

    def _switch_back(self) -> None:
        record, table = self._record, self._table
        start = self._begin("switch the search function back")
        statement = search_function(table, record.function, former_search(table, record), None)
        self._save(record.after("undoing"), statement)
        shown = shown_function(self._session, table, record)
        self._end("switch the search function back", start, shown)

    def _drop_new(self) -> int:
        record, table = self._record, self._table
        start = self._begin("drop what the shrink created")
        name = table.qualified(record.index)
        freed = index_size(self._session, name)
        self._session.maintain(drop_index(name))
        statements: tuple[str, ...] = ()
        if record.column is not None:
            statements = drop_column(table, record.column)
        if record.column is not None and record.adapter is not None:
            statements = (*statements, *self._adapter_statements(record.column))
        self._save(record.after("undone"), *statements)
        self._end("drop what the shrink created", start, f"{size_text(freed)} freed")
        return freed

    def _adapter_statements(self, column: str) -> tuple[str, ...]:
        """Return the statements that drop the adapter, unless its column was never added."""
        if self._session.row("SELECT to_regclass('nestvec.shrink_adapters')")[0] is None:
            return ()
        return drop_adapter(self._table, column)

    def _drop_function(self) -> None:
        start = self._begin("drop the search function")
        name = function_name(self._table, self._record)

        def work(connection: Any) -> None:
            connection.execute(f"DROP FUNCTION IF EXISTS {name}")
            delete_record(connection, self._table)

        self._session.change(work)
        shown = shown_function(self._session, self._table, self._record)
        self._end("drop the search function", start, shown)

    def _save(self, record: ShrinkRecord, *statements: str) -> None:
        apply(self._session, self._table, record, statements)
        self._record = record

    def _begin(self, name: str, unit: str = "steps") -> float:
        begin_step(self._on_progress, name, unit)
        return time.perf_counter()

    def _end(self, name: str, start: float, detail: str) -> None:
        if self._on_step is not None:
            self._on_step(ShrinkStep(name, time.perf_counter() - start, detail))
