"""Finish a shrink in LanceDB, which drops the former index, or undo it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from nestvec.errors import InvalidArgument
from nestvec.operate.shrink.lancedb.columns import drop_columns
from nestvec.operate.shrink.lancedb.forward import lance_outcome
from nestvec.operate.shrink.lancedb.indexes import drop_former, index_bytes, rebuild_former
from nestvec.operate.shrink.lancedb.prepared import recorded
from nestvec.operate.shrink.lancedb.records import LanceRecord, write_record
from nestvec.operate.shrink.lancedb.session import LanceSession
from nestvec.operate.shrink.outcome import OnStep, ShrinkOutcome, ShrinkStep
from nestvec.types import OnProgress, begin_step
from nestvec.wording import size_text

_FREED_LATER = (
    "LanceDB frees the disk space when it deletes old versions of the table: call "
    "table.optimize(), which deletes versions older than 7 days by default."
)


class LanceEnding:
    """A recorded shrink that is finished or undone."""

    def __init__(
        self, session: LanceSession, on_step: OnStep | None, on_progress: OnProgress | None
    ) -> None:
        """Read the record of a table.

        Raises:
            InvalidArgument: If there is none.
        """
        self._session = session
        self._record: LanceRecord = recorded(session, "finish or undo")
        self._on_step, self._on_progress = on_step, on_progress
        self._freed = 0

    def finish(self) -> ShrinkOutcome:
        """Drop the former index.

        Raises:
            InvalidArgument: If the search was not switched yet.
        """
        if self._record.state not in ("switched", "finishing", "finished"):
            problem = f"the shrink of {self._session.name} is not complete"
            state = f"(state {self._record.state})"
            raise InvalidArgument(f"{problem} {state}. Run it with --plan or --point first.")
        if self._record.state != "finished":
            self._step("drop the former index", self._drop_former)
        notes = (_FREED_LATER,) if self._freed else ()
        done = lance_outcome(self._session, self._record, "finished", notes)
        return replace(done, freed_bytes=self._freed)

    def undo(self) -> ShrinkOutcome:
        """Return to the former search, and drop what the shrink created."""
        if self._record.former is not None and self._record.state in ("finishing", "finished"):
            self._step("rebuild the former index", self._rebuild_former)
        self._step("switch the search back", self._switch_back)
        self._step("drop the column", self._drop_new)
        done = lance_outcome(self._session, self._record, "undone", (_FREED_LATER,))
        return replace(done, freed_bytes=self._freed)

    def _drop_former(self) -> str:
        self._save(replace(self._record, state="finishing"))
        if self._record.former is not None:
            self._freed = drop_former(self._session, self._record.former)
        self._save(replace(self._record, state="finished"))
        return f"{size_text(self._freed)} freed"

    def _rebuild_former(self) -> str:
        former = self._record.former
        assert former is not None
        rebuild_former(self._session, former)
        return size_text(index_bytes(self._session, self._session.vector))

    def _switch_back(self) -> str:
        self._save(replace(self._record, state="undoing", active=None))
        return f"to {self._session.vector}"

    def _drop_new(self) -> str:
        record = self._record
        self._freed = index_bytes(self._session, record.column)
        drop_columns(self._session, (record.column, *record.unused))
        write_record(self._session, None)
        return record.column

    def _step(self, name: str, work: Callable[[], str]) -> None:
        begin_step(self._on_progress, name)
        start = time.perf_counter()
        detail = work()
        if self._on_step is not None:
            self._on_step(ShrinkStep(name, time.perf_counter() - start, detail))

    def _save(self, record: LanceRecord) -> None:
        write_record(self._session, record)
        self._record = record
